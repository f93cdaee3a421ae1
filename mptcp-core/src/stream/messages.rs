//! What the application has said of the messages in its stream.

use tcp_adapter::{IdleQueue, Instant};

use crate::scheduler::{MessageView, TrafficClass};

/// Messages that were written and are not acknowledged, where the application tells them apart.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Those whose end is known, in order.
    ended: IdleQueue<Message>,
    /// Class of what was written after the last of these.
    open: TrafficClass,
    /// Its deadline.
    open_deadline: Option<Instant>,
    /// A message has begun and not ended.
    is_open: bool,
    /// Class of what belongs to no message.
    usual: TrafficClass,
    /// Where the last of `ended` ends, or ended.
    told_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// Position after its last byte.
    end: u64,
    class: TrafficClass,
    deadline: Option<Instant>,
    /// These are bytes of no message.
    is_none: bool,
}

impl Messages {
    /// What is written from now on, at `position`, is of this class and has this deadline, until the message [ends](Self::end_at).
    pub fn begin(&mut self, position: u64, class: TrafficClass, deadline: Option<Instant>) {
        if !self.is_open && position > self.told_until {
            let (class, deadline) = (self.open, self.open_deadline);
            self.ended.push_back(Message { end: position, class, deadline, is_none: true });
            self.told_until = position;
        }
        (self.open, self.open_deadline, self.is_open) = (class, deadline, true);
    }

    /// What belongs to no message is of this class.
    pub fn set_class(&mut self, class: TrafficClass) {
        self.usual = class;
        self.open = class;
    }

    /// The message that was written last ends before `position`, not lower than that of any before. What follows belongs to none.
    pub fn end_at(&mut self, position: u64) {
        let class = std::mem::replace(&mut self.open, self.usual);
        let deadline = self.open_deadline.take();
        self.ended.push_back(Message { end: position, class, deadline, is_none: false });
        (self.is_open, self.told_until) = (false, position);
    }

    /// The first `count` bytes are not part of the stream after all, which begins behind them.
    pub fn skip(&mut self, count: u64) {
        self.acked(count);
        self.ended.iter_mut().for_each(|message| message.end -= count);
        self.told_until = self.told_until.saturating_sub(count);
    }

    /// Everything before `position` is acknowledged.
    pub fn acked(&mut self, position: u64) {
        while self.ended.front().is_some_and(|message| message.end <= position) {
            self.ended.pop_front();
        }
    }

    /// What is known of the message with the byte at `position`. O(log n).
    pub fn at(&self, position: u64) -> MessageView {
        // Most often there are none, or all before it is acknowledged.
        let found = match self.ended.front() {
            Some(first) if first.end <= position => {
                self.ended.get(self.ended.partition_point(|message| message.end <= position))
            }
            first => first,
        };
        match found {
            Some(message) => MessageView {
                class: message.class,
                left: (!message.is_none).then_some(message.end - position),
                deadline: message.deadline,
            },
            None => MessageView { class: self.open, left: None, deadline: self.open_deadline },
        }
    }

    /// The class of the byte at `position`, and a place up to which there are no others: `enough` bytes away at least, or where another one begins. `None` if
    /// there are no others at all. O(log n), and as many steps as there are messages within these bytes.
    pub fn class_at(&self, position: u64, enough: u64) -> (TrafficClass, Option<u64>) {
        let index = self.ended.partition_point(|message| message.end <= position);
        let mut rest = self.ended.iter().skip(index);
        let Some(first) = rest.next() else { return (self.open, None) };
        let mut end = first.end;
        for message in rest {
            if message.class != first.class || end - position >= enough {
                return (first.class, Some(end));
            }
            end = message.end;
        }
        (first.class, (self.open != first.class).then_some(end))
    }

    /// Gives back the memory of an empty queue.
    pub fn trim(&mut self) {
        self.ended.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_belongs_to_its_message() {
        let mut messages = Messages::default();
        let deadline = Some(Instant::from_millis(5));
        messages.begin(0, TrafficClass::Latency, deadline);
        messages.end_at(64);
        messages.begin(64, TrafficClass::Background, None);
        let view = |class, left, deadline| MessageView { class, left, deadline };
        assert_eq!(messages.at(0), view(TrafficClass::Latency, Some(64), deadline));
        assert_eq!(messages.at(63), view(TrafficClass::Latency, Some(1), deadline));
        assert_eq!(messages.at(64), view(TrafficClass::Background, None, None), "no end in sight");
        messages.end_at(1000);
        assert_eq!(messages.at(64), view(TrafficClass::Background, Some(936), None));
        assert_eq!(messages.at(1000), MessageView::default());
        messages.set_class(TrafficClass::Latency);
        assert_eq!(messages.at(1000).class, TrafficClass::Latency);
        messages.begin(1000, TrafficClass::Bulk, None);
        messages.end_at(1500);
        assert_eq!([1000, 1500].map(|at| messages.at(at).class), [TrafficClass::Bulk, TrafficClass::Latency]);
        messages.set_class(TrafficClass::Bulk);
        messages.acked(64);
        assert_eq!(messages.at(64).left, Some(936));
        messages.acked(2000);
        assert_eq!((messages.at(2000), messages.ended.len()), (MessageView::default(), 0));
    }

    #[test]
    fn what_left_with_the_syn_is_not_counted() {
        let mut messages = Messages::default();
        for (begin, end, class) in [(0, 1000, TrafficClass::Latency), (1000, 1500, TrafficClass::Background)] {
            messages.begin(begin, class, None);
            messages.end_at(end);
        }
        let mut all = messages.clone();
        all.skip(1500);
        all.begin(0, TrafficClass::Latency, None);
        all.end_at(10);
        all.begin(20, TrafficClass::Background, None);
        all.end_at(30);
        assert_eq!([0, 10, 20].map(|at| all.at(at).left), [Some(10), None, Some(10)]);
        messages.skip(1200);
        let view = messages.at(0);
        assert_eq!((view.class, view.left), (TrafficClass::Background, Some(300)));
        messages.begin(400, TrafficClass::Latency, None);
        assert_eq!([300, 400].map(|at| messages.at(at).class), [TrafficClass::Bulk, TrafficClass::Latency]);
    }

    #[test]
    fn classes_end_where_others_begin() {
        use TrafficClass::{Background, Bulk};
        let mut messages = Messages::default();
        assert_eq!(messages.class_at(5, 1000), (Bulk, None));
        for (begin, end, class) in [(0, 10, Bulk), (10, 20, Bulk), (20, 30, Background), (40, 50, Background)] {
            messages.begin(begin, class, None);
            messages.end_at(end);
        }
        // Bytes 30 to 40 and from 50 on are of no message, which is bulk.
        for (position, class, until) in [
            (0, Bulk, Some(20)),
            (10, Bulk, Some(20)),
            (29, Background, Some(30)),
            (30, Bulk, Some(40)),
            (49, Background, Some(50)),
            (50, Bulk, None),
        ] {
            assert_eq!(messages.class_at(position, 1000), (class, until), "{position}");
        }
        assert_eq!(messages.class_at(2, 8), (Bulk, Some(10)), "that is enough");
    }

    #[test]
    fn bytes_of_no_message_keep_their_class() {
        let mut messages = Messages::default();
        messages.begin(1000, TrafficClass::Latency, None);
        messages.begin(1032, TrafficClass::Latency, None);
        messages.end_at(1064);
        assert_eq!(messages.at(0), MessageView::default(), "no end, though a message follows");
        assert_eq!(messages.at(1000).left, Some(64));
        messages.begin(1064, TrafficClass::Latency, None);
        messages.end_at(1100);
        assert_eq!((messages.at(1064).left, messages.ended.len()), (Some(36), 3));
    }
}
