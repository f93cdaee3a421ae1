//! Between jobs and the connections of their queues.

use std::collections::BTreeSet;
use std::ops::Range;

use tcp_adapter::Instant;

use super::jobs::Jobs;
use crate::host::{Host, Side};
use crate::traffic::figures::Figures;
use crate::traffic::flow::{Flow, State};

/// Jobs with the connections of their queues: those of the first job over each path in turn, then those of the second job.
#[derive(Debug)]
pub(in crate::traffic) struct Exchange {
    jobs: Jobs,
    /// Number of the first connection.
    first: usize,
    /// Connections that the host has something for since it last wrote to them.
    touched: BTreeSet<usize>,
}

/// What an [`Exchange`] works on.
pub(in crate::traffic) struct Surroundings<'a> {
    pub(in crate::traffic) now: Instant,
    pub(in crate::traffic) flows: &'a mut [Flow],
    pub(in crate::traffic) figures: &'a mut Figures,
    /// The host of the jobs.
    pub(in crate::traffic) host: &'a mut Host,
    /// Connections that have been used, or have ended, are added.
    pub(in crate::traffic) changed: &'a mut Vec<Changed>,
}

/// What has become of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::traffic) enum Changed {
    Used(usize),
    Ended(usize),
}

impl Exchange {
    /// Jobs whose connections begin with this one.
    pub(in crate::traffic) fn new(jobs: Jobs, first: usize) -> Self {
        Self { jobs, first, touched: BTreeSet::new() }
    }

    /// The numbers of its connections.
    pub(in crate::traffic) fn connections(&self) -> Range<usize> {
        self.first..self.first + self.jobs.jobs() * self.jobs.paths()
    }

    pub(in crate::traffic) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    pub(in crate::traffic) fn jobs_mut(&mut self) -> &mut Jobs {
        &mut self.jobs
    }

    /// Begins, once all connections are asked for.
    pub(in crate::traffic) fn begin(&mut self, around: &mut Surroundings<'_>) {
        self.submit(around);
    }

    /// Goes on after something has happened to a connection at the host.
    pub(in crate::traffic) fn proceed(&mut self, number: usize, around: &mut Surroundings<'_>) {
        self.collect(number, around);
        let path = (number - self.first) % self.jobs.paths();
        if let State::Failed(_) = around.flows[number].state()
            && self.jobs.is_live(path)
        {
            self.lose(path, around);
        }
        self.touched.insert(number);
        self.submit(around);
    }

    /// Submits what can be submitted, and writes to all connections that there is something for.
    fn submit(&mut self, around: &mut Surroundings<'_>) {
        self.jobs.submit(around.now);
        for path in 0..self.jobs.paths() {
            let (first, paths) = (self.first, self.jobs.paths());
            let number = |job: usize| first + job * paths + path;
            while let Some(job) =
                self.jobs.hand_out(around.now, path, |job| around.flows[number(job)].queue_and_lanes())
            {
                self.touched.insert(number(job));
            }
        }
        if self.jobs.is_done() {
            for number in self.connections() {
                if !around.flows[number].is_over() && !around.flows[number].lanes[Side::Client.index()].is_sealed() {
                    around.flows[number].lanes[Side::Client.index()].seal();
                    self.touched.insert(number);
                }
            }
        }
        while let Some(number) = self.touched.pop_first() {
            around.flows[number].write(around.now, Side::Client, around.host);
            around.changed.push(Changed::Used(number));
        }
    }

    /// A path has failed: its connections are given up, and their commands take others.
    fn lose(&mut self, path: usize, around: &mut Surroundings<'_>) {
        self.jobs.lose(around.now, path, around.figures);
        let is_replaced = self.jobs.has_path();
        for job in 0..self.jobs.jobs() {
            let number = self.first + job * self.jobs.paths() + path;
            if let Some((queue, _)) = around.flows[number].queue_and_lanes() {
                queue.end();
            }
            self.collect(number, around);
            if around.flows[number].give_up(around.now, is_replaced, around.host) {
                around.changed.push(Changed::Ended(number));
            }
        }
        if let Some(last) = self.jobs.last_path() {
            for job in 0..self.jobs.jobs() {
                let number = self.first + job * self.jobs.paths() + last;
                if let Some((queue, _)) = around.flows[number].queue_and_lanes() {
                    queue.be_patient();
                }
                self.touched.insert(number);
            }
        }
    }

    fn collect(&mut self, number: usize, around: &mut Surroundings<'_>) {
        if let Some((queue, lanes)) = around.flows[number].queue_and_lanes() {
            self.jobs.collect(around.now, queue, lanes, around.figures);
        }
    }
}
