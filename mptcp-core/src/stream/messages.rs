//! What the application has said of the messages in its stream.

use tcp_adapter::{IdleQueue, Instant};

use crate::scheduler::{MessageView, TrafficClass};

/// Messages that were written and are not acknowledged, where the application tells them apart.
#[derive(Clone, Debug, Default)]
pub struct Messages {
    /// Those whose end is known, in order.
    ended: IdleQueue<Message>,
    /// Class and deadline of what was written after the last of these.
    open: (TrafficClass, Option<Instant>),
    /// Class of what belongs to no message.
    usual: TrafficClass,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    /// Position after its last byte.
    end: u64,
    class: TrafficClass,
    deadline: Option<Instant>,
}

impl Messages {
    /// What is written from now on is of this class and has this deadline, until the message [ends](Self::end_at).
    pub fn begin(&mut self, class: TrafficClass, deadline: Option<Instant>) {
        self.open = (class, deadline);
    }

    /// What belongs to no message is of this class.
    pub fn set_class(&mut self, class: TrafficClass) {
        self.usual = class;
        self.open.0 = class;
    }

    /// The message that was written last ends before `position`, not lower than that of any before. What follows belongs to none.
    pub fn end_at(&mut self, position: u64) {
        let (class, deadline) = std::mem::replace(&mut self.open, (self.usual, None));
        self.ended.push_back(Message { end: position, class, deadline });
    }

    /// Everything before `position` is acknowledged.
    pub fn acked(&mut self, position: u64) {
        while self.ended.front().is_some_and(|message| message.end <= position) {
            self.ended.pop_front();
        }
    }

    /// What is known of the message with the byte at `position`. O(log n).
    pub fn at(&self, position: u64) -> MessageView {
        let index = self.ended.partition_point(|message| message.end <= position);
        match self.ended.get(index) {
            Some(message) => {
                MessageView { class: message.class, left: Some(message.end - position), deadline: message.deadline }
            }
            None => MessageView { class: self.open.0, left: None, deadline: self.open.1 },
        }
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
        messages.begin(TrafficClass::Latency, deadline);
        messages.end_at(64);
        messages.begin(TrafficClass::Background, None);
        let view = |class, left, deadline| MessageView { class, left, deadline };
        assert_eq!(messages.at(0), view(TrafficClass::Latency, Some(64), deadline));
        assert_eq!(messages.at(63), view(TrafficClass::Latency, Some(1), deadline));
        assert_eq!(messages.at(64), view(TrafficClass::Background, None, None), "no end in sight");
        messages.end_at(1000);
        assert_eq!(messages.at(64), view(TrafficClass::Background, Some(936), None));
        assert_eq!(messages.at(1000), MessageView::default());
        messages.set_class(TrafficClass::Latency);
        assert_eq!(messages.at(1000).class, TrafficClass::Latency);
        messages.begin(TrafficClass::Bulk, None);
        messages.end_at(1500);
        assert_eq!([1000, 1500].map(|at| messages.at(at).class), [TrafficClass::Bulk, TrafficClass::Latency]);
        messages.set_class(TrafficClass::Bulk);
        messages.acked(64);
        assert_eq!(messages.at(64).left, Some(936));
        messages.acked(2000);
        assert_eq!((messages.at(2000), messages.ended.len()), (MessageView::default(), 0));
    }
}
