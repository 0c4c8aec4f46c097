//! Storage that grows without moving: a page at a time, so that it never needs twice its memory.

const PAGE_BITS: u32 = 12;
const PAGE: usize = 1 << PAGE_BITS;

/// Items by index. A freed place is taken again.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    stored: Vec<Vec<T>>,
    free: Vec<u32>,
    places: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { stored: Vec::new(), free: Vec::new(), places: 0 }
    }
}

impl<T> Pages<T> {
    /// Adds an item; none if there are as many as an index can count.
    pub(crate) fn add(&mut self, item: T) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            *self.get_mut(index)? = item;
            return Some(index);
        }
        if self.stored.last().is_none_or(|page| page.len() == PAGE) {
            self.stored.push(Vec::with_capacity(PAGE));
        }
        let index = u32::try_from(self.places).ok()?;
        self.stored.last_mut()?.push(item);
        self.places += 1;
        Some(index)
    }

    /// Gives a place back. The item stays readable until the place is taken again.
    pub(crate) fn release(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Places that were ever taken.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Items in use.
    pub(crate) fn used(&self) -> usize {
        self.places() - self.free.len()
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.stored.get((index >> PAGE_BITS) as usize)?.get(index as usize & (PAGE - 1))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.stored.get_mut((index >> PAGE_BITS) as usize)?.get_mut(index as usize & (PAGE - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_and_taken_again() {
        let mut pages = Pages::default();
        for number in 0..PAGE * 2 + 3 {
            assert_eq!(pages.add(number), u32::try_from(number).ok());
        }
        assert_eq!((pages.places(), pages.used()), (PAGE * 2 + 3, PAGE * 2 + 3));
        pages.release(5);
        assert_eq!(pages.used(), PAGE * 2 + 2);
        assert_eq!(pages.add(99), Some(5));
        assert_eq!((pages.get(5), pages.get(u32::MAX)), (Some(&99), None));
    }
}
