//! Several captures as one, by time: the files of a rotating capture, or both ends of one path.

use crate::Reader;
use crate::packet::{Each, Packet, Sink};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Readers whose frames come in the order of their times. Within one file the order stays that of the file, even
/// where its times go back; of two files with the same time the one that was named first comes first.
#[derive(Debug)]
pub struct Merge<'a> {
    readers: Vec<Reader<'a>>,
    /// The time of each reader's next frame, the earliest on top; readers at their end are not in it.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
    begun: bool,
}

impl<'a> Merge<'a> {
    /// Of these readers, whose packets are told apart by the place in this list ([`Packet::file`]); of more than
    /// 65,536 the rest share the last number.
    pub fn new(readers: Vec<Reader<'a>>) -> Self {
        let numbered = readers.into_iter().enumerate();
        let readers =
            numbered.map(|(file, reader)| reader.with_file(u16::try_from(file).unwrap_or(u16::MAX)));
        Self { readers: readers.collect(), heads: BinaryHeap::new(), begun: false }
    }

    /// The readers, for what they say of their files.
    pub fn readers(&self) -> &[Reader<'a>] {
        &self.readers
    }

    /// Gives every segment that is left in any of the files.
    pub fn for_each(&mut self, mut sink: impl FnMut(&Packet<'_>)) {
        while self.advance(u64::MAX, &mut sink) {}
    }

    /// Reads up to so many frames and gives the segments in them; false if there are no more frames.
    pub fn advance(&mut self, frames: u64, sink: impl FnMut(&Packet<'_>)) -> bool {
        self.advance_into(frames, &mut Each(sink))
    }

    /// The same, and asks which segments are wanted.
    pub fn advance_into(&mut self, frames: u64, sink: &mut impl Sink) -> bool {
        if let [only] = self.readers.as_mut_slice() {
            return only.advance_into(frames, sink);
        }
        if !self.begun {
            self.begun = true;
            for (place, reader) in self.readers.iter_mut().enumerate() {
                self.heads.extend(reader.peek_time().map(|time| Reverse((time, place))));
            }
        }
        for _ in 0..frames {
            let Some(mut head) = self.heads.peek_mut() else { return false };
            let place = head.0.1;
            let reader = &mut self.readers[place];
            reader.advance_into(1, sink);
            match reader.peek_time() {
                // Changing it puts it in its place when it goes out of scope.
                Some(time) => *head = Reverse((time, place)),
                None => {
                    std::collections::binary_heap::PeekMut::pop(head);
                }
            }
        }
        true
    }
}
