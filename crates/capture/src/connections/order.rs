//! The connections of several shards, put together again.

use super::{Connection, Connections, Record};

/// Connections of a chunk: enough that threads seldom meet, and few enough that their lines fit into a cache.
const CHUNK: u32 = 256;

/// All connections of shards that were shown the same packets, in the order of their first packets and in chunks, each
/// of which can be asked for at any time and by any thread.
#[derive(Debug)]
pub struct InOrder<'a> {
    shards: &'a [Connections],
    /// Of each shard, the numbers of its connections by their places. Not needed of a single one.
    numbers: Vec<Vec<u32>>,
    /// Where each chunk begins in each shard.
    chunks: Vec<Vec<u32>>,
}

impl<'a> InOrder<'a> {
    /// Call [`Connections::finish`] of each before.
    pub fn of(shards: &'a [Connections]) -> Self {
        let all = |shard: &Connections| Vec::with_capacity(shard.records.places());
        let mut numbers: Vec<_> =
            if shards.len() > 1 { shards.iter().map(all).collect() } else { Vec::new() };
        let mut chunks = Vec::new();
        let mut order = Order { shards, next: vec![0; shards.len()] };
        for number in 1_u32.. {
            if (number - 1).is_multiple_of(CHUNK) {
                chunks.push(order.next.clone());
            }
            let Some((shard, _)) = order.next() else { break };
            if let Some(numbers) = numbers.get_mut(shard) {
                numbers.push(number);
            }
        }
        Self { shards, numbers, chunks }
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The connections of a chunk, counted from 0.
    pub fn chunk(&self, chunk: usize) -> impl Iterator<Item = Connection> + '_ {
        // Connections are counted in 32 bits, and so are chunks.
        let first = u32::try_from(chunk).unwrap_or(u32::MAX).saturating_mul(CHUNK);
        let next = self.chunks.get(chunk).cloned();
        let order = next.map(|next| Order { shards: self.shards, next });
        order.into_iter().flatten().take(CHUNK as usize).zip(first + 1..).map(|((shard, record), number)| {
            let mut connection = self.shards[shard].answer(record);
            if let Some(numbers) = self.numbers.get(shard) {
                connection.number = number;
                if let Some(reuse) = &mut connection.reuses {
                    // In a shard this is a place, counted from 1.
                    let place = reuse.previous.saturating_sub(1) as usize;
                    reuse.previous = numbers.get(place).copied().unwrap_or_default();
                }
            }
            connection
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Connection> + '_ {
        (0..self.chunks()).flat_map(|chunk| self.chunk(chunk))
    }
}

/// The records of several shards, by their first packets.
struct Order<'a> {
    shards: &'a [Connections],
    next: Vec<u32>,
}

impl<'a> Iterator for Order<'a> {
    type Item = (usize, &'a Record);

    fn next(&mut self) -> Option<Self::Item> {
        let heads = self.shards.iter().zip(&self.next).enumerate();
        let heads = heads.filter_map(|(at, (shard, next))| Some((at, shard.records.get(*next)?)));
        let (at, record) = heads.min_by_key(|(_, record)| record.number)?;
        self.next[at] += 1;
        Some((at, record))
    }
}
