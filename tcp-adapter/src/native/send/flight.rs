//! What has been sent and is not acknowledged: the scoreboard (RFC 6675 section 4, RFC 8985 section 5).

use std::cmp::Ordering;
use std::collections::VecDeque;

use super::delivery::{Delivery, Sampled, Snapshot};
use crate::{Instant, RangeSet};

/// What is known of sent bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum Fate {
    /// On the way, as far as is known.
    InFlight,
    /// Taken for lost, and not sent again yet.
    Lost,
    /// Selectively acknowledged.
    Sacked,
}

/// A run of bytes that left as one segment or super-segment.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct Record {
    pub(in crate::native) start: u64,
    /// One past the last byte, or past the FIN, which has an offset of its own.
    pub(in crate::native) end: u64,
    /// When it last left.
    pub(in crate::native) at: Instant,
    pub(in crate::native) snapshot: Snapshot,
    /// Payload bytes of each segment of it.
    pub(in crate::native) segment: u32,
    pub(in crate::native) fate: Fate,
    /// Times that it left, at most 255.
    pub(in crate::native) times: u8,
}

impl Record {
    fn len(&self) -> u64 {
        self.end - self.start
    }

    pub(in crate::native) fn resent(&self) -> bool {
        self.times > 1
    }

    /// Whether it is on the way, and last left at that time.
    fn is_on_the_way_since(&self, at: Instant) -> bool {
        self.fate == Fate::InFlight && self.at == at
    }
}

/// A departure: bytes, and when they left. As long as their record tells the same time, they have not left since.
#[derive(Clone, Copy, Debug)]
struct Departure {
    start: u64,
    end: u64,
    at: Instant,
}

/// The segment sent last among those that are known to have arrived (RFC 8985 section 6.2 step 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::native) struct Newest {
    pub(in crate::native) at: Instant,
    pub(in crate::native) end: u64,
}

/// What an acknowledgement has changed.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::native) struct Newly {
    /// Bytes that were not known to have arrived.
    pub(in crate::native) delivered: u64,
    /// Bytes acknowledged in order.
    pub(in crate::native) acked: u64,
    /// Bytes selectively acknowledged.
    pub(in crate::native) sacked: u64,
    /// Of what left once only, and did not wait for what left again: when the earliest and the latest left.
    pub(in crate::native) timed: Option<(Instant, Instant)>,
    /// The newest of what arrived, and whether it had left more than once.
    pub(in crate::native) newest: Option<(Newest, bool)>,
    /// End of the last byte newly acknowledged, of what was never sent again (RFC 5682).
    pub(in crate::native) original_end: u64,
    /// What the rate is measured by.
    pub(in crate::native) sampled: Sampled,
    /// Something arrived that was sent after something that arrived earlier, and never again: reordering.
    pub(in crate::native) reordered: bool,
}

impl Newly {
    fn note(&mut self, record: &Record, len: u64) {
        self.delivered += len;
        let newest = Newest { at: record.at, end: record.end };
        if self.newest.is_none_or(|(known, _)| known < newest) {
            self.newest = Some((newest, record.resent()));
        }
        if !record.resent() {
            let (first, last) = self.timed.unwrap_or((record.at, record.at));
            self.timed = Some((first.min(record.at), last.max(record.at)));
            self.original_end = self.original_end.max(record.end);
        }
    }
}

/// The scoreboard of one connection.
#[derive(Debug, Default)]
pub(in crate::native) struct Flight {
    /// Only there while something is outstanding, and for a while after that.
    board: Option<Box<Board>>,
    pub(in crate::native) delivery: Delivery,
}

/// What is outstanding.
#[derive(Debug, Default)]
struct Board {
    /// By offset, without gaps from the first byte that is not acknowledged on.
    records: VecDeque<Record>,
    /// By time.
    log: VecDeque<Departure>,
    /// Bytes on the way (the `pipe` of RFC 6675).
    in_flight: u64,
    /// What is selectively acknowledged, so that a block that says it again costs nothing for each record.
    sacked: RangeSet,
    lost: u64,
    /// No record before this offset is lost.
    lost_from: u64,
    /// Highest offset that is known to have arrived (`FACK`).
    highest: u64,
}

impl Flight {
    /// Bytes on the way.
    pub(in crate::native) fn in_flight(&self) -> u64 {
        self.board.as_ref().map_or(0, |board| board.in_flight)
    }

    /// Bytes selectively acknowledged.
    pub(in crate::native) fn sacked(&self) -> u64 {
        self.board.as_ref().map_or(0, |board| board.sacked.len_bytes())
    }

    /// Bytes taken for lost and not sent again yet.
    pub(in crate::native) fn lost(&self) -> u64 {
        self.board.as_ref().map_or(0, |board| board.lost)
    }

    pub(in crate::native) fn is_empty(&self) -> bool {
        self.board.as_ref().is_none_or(|board| board.records.is_empty())
    }

    /// What was sent first among what is not acknowledged in order.
    pub(in crate::native) fn head(&self) -> Option<&Record> {
        self.board.as_ref()?.records.front()
    }

    /// When the first byte that is not acknowledged last left, unless it is taken for lost.
    pub(in crate::native) fn una_sent_at(&self) -> Option<Instant> {
        self.head().filter(|head| head.fate == Fate::InFlight).map(|head| head.at)
    }

    /// Whether the byte at `offset` is taken for lost.
    pub(in crate::native) fn is_lost(&self, offset: u64) -> bool {
        self.fate(offset) == Some(Fate::Lost)
    }

    /// Whether the byte at `offset` is selectively acknowledged.
    pub(in crate::native) fn is_sacked(&self, offset: u64) -> bool {
        self.fate(offset) == Some(Fate::Sacked)
    }

    /// Bytes from `start` to `end` leave for the first time.
    pub(in crate::native) fn send(&mut self, now: Instant, start: u64, end: u64, segment: u32) {
        let (board, delivery) = self.parts();
        let len = end - start;
        let snapshot = delivery.snapshot(now, board.in_flight, len);
        board.records.push_back(Record { start, end, at: now, snapshot, segment, fate: Fate::InFlight, times: 1 });
        board.log.push_back(Departure { start, end, at: now });
        board.in_flight += len;
    }

    /// Bytes from `start` on, at most until `end`, leave again. They must be of one record, whose rest keeps its fate.
    pub(in crate::native) fn resend(&mut self, now: Instant, start: u64, end: u64, segment: u32) {
        let (board, delivery) = self.parts();
        let Some(index) = board.find(start) else { return };
        let index = if board.records[index].start < start { board.split(index, start) } else { index };
        if board.records[index].end > end {
            board.split(index, end);
        }
        let snapshot = delivery.snapshot(now, board.in_flight, board.records[index].len());
        let record = &mut board.records[index];
        let (start, end, len) = (record.start, record.end, record.len());
        match record.fate {
            Fate::Lost => {
                board.lost -= len;
                board.in_flight += len;
            }
            Fate::InFlight => {}
            Fate::Sacked => {
                board.sacked.remove(start..end);
                board.in_flight += len;
            }
        }
        (record.fate, record.at, record.snapshot, record.segment) = (Fate::InFlight, now, snapshot, segment);
        record.times = record.times.saturating_add(1);
        board.log.push_back(Departure { start, end, at: now });
    }

    /// Everything before `una` is acknowledged.
    pub(in crate::native) fn acknowledge(&mut self, now: Instant, una: u64, newly: &mut Newly) {
        let (board, delivery) = self.parts();
        board.sacked.remove_before(una);
        let mut fills_hole = false;
        while let Some(record) = board.records.front_mut()
            && record.start < una
        {
            let end = record.end.min(una);
            let len = end - record.start;
            match record.fate {
                Fate::InFlight => board.in_flight -= len,
                Fate::Lost => board.lost -= len,
                Fate::Sacked => {}
            }
            newly.acked += len;
            if record.fate != Fate::Sacked {
                fills_hole |= record.resent();
                // What was lost for us and arrived all the same was sent twice or late.
                newly.reordered |= end <= board.highest && !record.resent();
                newly.note(&Record { end, ..*record }, len);
                delivery.delivered(now, record.at, &record.snapshot, len, &mut newly.sampled);
            }
            if end < record.end {
                record.start = end;
                break;
            }
            board.records.pop_front();
        }
        if fills_hole {
            // What came after the hole has waited for it, unless that was said (RFC 6298 section 3).
            newly.timed = None;
        }
        board.highest = board.highest.max(una);
        board.lost_from = board.lost_from.max(una);
        // Here and not only where losses are looked for: without SACK nobody looks.
        while board.log.front().is_some_and(|departure| departure.end <= una) {
            board.log.pop_front();
        }
    }

    /// The bytes from `start` to `end` have arrived, though not what is before them (RFC 2018). Whole segments only.
    pub(in crate::native) fn sack(&mut self, now: Instant, start: u64, end: u64, newly: &mut Newly) {
        let (board, delivery) = self.parts();
        let mut from = start;
        while let Some(gap) = board.sacked.first_gap(from..end) {
            from = gap.end;
            board.sack_gap(now, gap.start, gap.end, newly, delivery);
        }
        board.highest = board.highest.max(end.min(board.records.back().map_or(0, |record| record.end)));
    }

    /// Takes for lost what left before `newest` did and so long ago that it is not late by reordering: more than
    /// `patience` nanoseconds (RFC 8985 section 6.2 step 5). Returns the bytes, and when to look again.
    ///
    /// The log is in order of departure, so that each departure is looked at once.
    pub(in crate::native) fn detect(&mut self, now: Instant, newest: Newest, patience: u64) -> (u64, Option<Instant>) {
        let (board, delivery) = self.parts();
        let mut lost = 0;
        let una = board.records.front().map_or(u64::MAX, |first| first.start);
        while let Some(&departure) = board.log.front() {
            // Most often it is acknowledged, which shows without a search.
            if departure.end <= una {
                board.log.pop_front();
                continue;
            }
            // The segments of a super-segment left one after the other, though all at the same time.
            let older_end = match departure.at.cmp(&newest.at) {
                Ordering::Less => departure.end,
                Ordering::Equal => departure.end.min(newest.end),
                // It left later, and so did all that follow.
                Ordering::Greater => break,
            };
            let older = Departure { end: older_end, ..departure };
            if older_end > departure.start && board.is_outstanding(older) {
                let deadline = departure.at.plus_nanos(patience);
                if deadline > now {
                    return (lost, Some(deadline));
                }
                lost += board.lose_range(older, delivery);
            }
            if older_end < departure.end && board.is_outstanding(departure) {
                board.log[0].start = older_end.max(departure.start);
                break;
            }
            board.log.pop_front();
        }
        (lost, None)
    }

    /// Takes the first `len` bytes for lost (RFC 6582, for peers without SACK): those of the first record, up to a whole segment.
    pub(in crate::native) fn lose_head(&mut self) -> u64 {
        let (board, delivery) = self.parts();
        let Some(head) = board.records.front() else { return 0 };
        if head.fate != Fate::InFlight {
            return 0;
        }
        let end = head.end.min(head.start + u64::from(head.segment));
        if end < head.end {
            board.split(0, end);
        }
        board.lose(0, delivery)
    }

    /// Takes everything for lost that is not selectively acknowledged; with `reneged`, that too (RFC 2018 section 8).
    pub(in crate::native) fn lose_all(&mut self, reneged: bool) -> u64 {
        let (board, delivery) = self.parts();
        let mut lost = 0;
        for index in 0..board.records.len() {
            if reneged && board.records[index].fate == Fate::Sacked {
                board.records[index].fate = Fate::InFlight;
                board.in_flight += board.records[index].len();
            }
            if board.records[index].fate == Fate::InFlight {
                lost += board.lose(index, delivery);
            }
        }
        if reneged {
            board.sacked = RangeSet::new();
        }
        board.log.clear();
        lost
    }

    /// Takes segments of more than `size` bytes for lost.
    pub(in crate::native) fn lose_longer_than(&mut self, size: u64) {
        let (board, delivery) = self.parts();
        for index in 0..board.records.len() {
            let record = &board.records[index];
            if record.fate == Fate::InFlight && u64::from(record.segment) > size && record.len() > size {
                board.lose(index, delivery);
            }
        }
    }

    /// Nothing that was taken for lost is: it is on its way (undo of a spurious recovery).
    pub(in crate::native) fn regain(&mut self) {
        let (board, _) = self.parts();
        for record in &mut board.records {
            if record.fate == Fate::Lost {
                let len = record.len();
                record.fate = Fate::InFlight;
                board.lost -= len;
                board.in_flight += len;
            }
        }
        board.log.clear();
        // The departures of what is in flight anew, so that RACK sees it again.
        let mut departures: Vec<_> = board.records.iter().filter(|record| record.fate == Fate::InFlight).collect();
        departures.sort_by_key(|record| (record.at, record.end));
        board.log.extend(departures.iter().map(|record| Departure {
            start: record.start,
            end: record.end,
            at: record.at,
        }));
    }

    /// The first lost bytes.
    pub(in crate::native) fn first_lost(&mut self) -> Option<Record> {
        let board = self.board.as_mut().filter(|board| board.lost > 0)?;
        let from = board.records.partition_point(|record| record.end <= board.lost_from);
        let record = *board.records.range(from..).find(|record| record.fate == Fate::Lost)?;
        board.lost_from = record.start;
        Some(record)
    }

    /// The last bytes that are not known to have arrived, of one segment at most (RFC 8985 section 7.3). A FIN, which has the offset
    /// `data_end`, is part of the segment before it.
    pub(in crate::native) fn last_segment(&self, data_end: u64) -> Option<Record> {
        let mut record = *self.board.as_ref()?.records.iter().rev().find(|record| record.fate != Fate::Sacked)?;
        let end = record.end.min(data_end);
        let payload = end.saturating_sub(record.start);
        let segment = u64::from(record.segment.max(1));
        if payload > segment {
            let rest = payload % segment;
            record.start = end - if rest == 0 { segment } else { rest };
        }
        Some(record)
    }

    /// What left together with the byte at `offset`, from there on.
    pub(in crate::native) fn from(&self, offset: u64) -> Option<Record> {
        let board = self.board.as_ref()?;
        let record = board.records[board.find(offset)?];
        Some(Record { start: offset, ..record })
    }

    /// Gives back the memory of an empty scoreboard.
    pub(in crate::native) fn trim(&mut self) {
        if self.is_empty() {
            self.board = None;
        }
    }

    /// Checks sums and order of the records, which are what was sent from `una` to `nxt`.
    #[cfg(feature = "conformance")]
    pub(in crate::native) fn check(&self, una: u64, nxt: u64) {
        let mut sums = [0; 3];
        let mut at = una;
        let empty = Board::default();
        let board = self.board.as_deref().unwrap_or(&empty);
        for record in &board.records {
            assert!(record.start == at && record.start < record.end, "{record:?} after {at}");
            at = record.end;
            sums[record.fate as usize] += record.len();
            let known = board.sacked.first_gap(record.start..record.end).is_none();
            assert_eq!(known, record.fate == Fate::Sacked, "{record:?}, sacked {:?}", board.sacked);
            assert!(record.fate != Fate::Lost || record.end > board.lost_from, "{record:?} is lost and not found");
        }
        assert_eq!((at, sums), (nxt, [board.in_flight, board.lost, board.sacked.len_bytes()]));
    }

    fn fate(&self, offset: u64) -> Option<Fate> {
        let board = self.board.as_ref()?;
        board.find(offset).map(|index| board.records[index].fate)
    }

    fn parts(&mut self) -> (&mut Board, &mut Delivery) {
        (self.board.get_or_insert_default(), &mut self.delivery)
    }
}

impl Board {
    /// Bytes have arrived that were not known to have.
    fn sack_gap(&mut self, now: Instant, start: u64, end: u64, newly: &mut Newly, delivery: &mut Delivery) {
        let mut index = self.records.partition_point(|record| record.end <= start);
        while let Some(record) = self.records.get(index)
            && record.start < end
        {
            let Some((from, to)) = whole_segments(record, start, end) else {
                index += 1;
                continue;
            };
            let (first, last) = (record.start, record.end);
            if from > first {
                index = self.split(index, from);
            }
            if to < last {
                self.split(index, to);
            }
            let record = &mut self.records[index];
            let len = record.len();
            match record.fate {
                Fate::Lost => self.lost -= len,
                _ => self.in_flight -= len,
            }
            record.fate = Fate::Sacked;
            newly.sacked += len;
            newly.reordered |= record.end < self.highest && !record.resent();
            newly.note(record, len);
            delivery.delivered(now, record.at, &record.snapshot, len, &mut newly.sampled);
            self.sacked.insert(from..to);
            index += 1;
        }
    }

    /// Whether bytes of a departure are on the way since then.
    fn is_outstanding(&self, departure: Departure) -> bool {
        // What is acknowledged leaves in order, nearly always: to search the middle would be a cache miss for each segment.
        let first = match self.records.front() {
            Some(front) if departure.end <= front.start => return false,
            Some(front) if departure.start < front.end && front.is_on_the_way_since(departure.at) => return true,
            Some(front) if departure.start < front.end => 0,
            _ => self.records.partition_point(|record| record.end <= departure.start),
        };
        let mut records = self.records.range(first..).take_while(|record| record.start < departure.end);
        records.any(|record| record.is_on_the_way_since(departure.at))
    }

    fn lose_range(&mut self, departure: Departure, delivery: &mut Delivery) -> u64 {
        let mut lost = 0;
        let mut index = self.records.partition_point(|record| record.end <= departure.start);
        while let Some(record) = self.records.get(index)
            && record.start < departure.end
        {
            if record.is_on_the_way_since(departure.at) {
                if record.end > departure.end {
                    self.split(index, departure.end);
                }
                lost += self.lose(index, delivery);
            }
            index += 1;
        }
        lost
    }

    fn lose(&mut self, index: usize, delivery: &mut Delivery) -> u64 {
        let record = &mut self.records[index];
        let len = record.len();
        record.fate = Fate::Lost;
        self.in_flight -= len;
        self.lost += len;
        self.lost_from = self.lost_from.min(record.start);
        delivery.lost(len);
        len
    }

    fn find(&self, offset: u64) -> Option<usize> {
        let index = self.records.partition_point(|record| record.end <= offset);
        (self.records.get(index)?.start <= offset).then_some(index)
    }

    /// Makes two of a record; returns the index of the second.
    fn split(&mut self, index: usize, at: u64) -> usize {
        let mut second = self.records[index];
        second.start = at;
        self.records[index].end = at;
        self.records.insert(index + 1, second);
        index + 1
    }
}

/// The whole segments of a record within `start..end`. A peer that acknowledges bytes one by one must not
/// be able to make a record of each.
fn whole_segments(record: &Record, start: u64, end: u64) -> Option<(u64, u64)> {
    let segment = u64::from(record.segment.max(1));
    let from = if start <= record.start {
        record.start
    } else {
        record.start + (start - record.start).div_ceil(segment) * segment
    };
    let to = if end >= record.end { record.end } else { record.start + (end - record.start) / segment * segment };
    (from < to).then_some((from, to))
}

#[cfg(test)]
mod tests;
