//! Sets of states: what is known of a state when the state itself is not.

use crate::State;
use core::fmt;

/// A set of [`State`]s.
///
/// ```
/// use tcp::{State, StateSet};
/// let closers = StateSet::of(&[State::TimeWait, State::Closed]);
/// assert!(closers.has(State::TimeWait));
/// assert_eq!(closers.to_string(), "{TIME-WAIT, CLOSED}");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateSet(u16);

impl StateSet {
    /// No state: what was seen contradicts itself.
    pub const EMPTY: Self = Self(0);
    /// Every state: nothing is known.
    pub const ALL: Self = Self((1 << State::COUNT) - 1);

    /// One state.
    pub const fn one(state: State) -> Self {
        Self(1 << state.index())
    }

    /// These states.
    pub const fn of(states: &[State]) -> Self {
        let mut set = Self::EMPTY;
        let mut at = 0;
        while at < states.len() {
            set = set.with(states[at]);
            at += 1;
        }
        set
    }

    /// This set and one state more.
    #[must_use]
    pub const fn with(self, state: State) -> Self {
        Self(self.0 | 1 << state.index())
    }

    /// This set without one state.
    #[must_use]
    pub const fn without(self, state: State) -> Self {
        Self(self.0 & !(1 << state.index()))
    }

    /// True if the state is in it.
    pub const fn has(self, state: State) -> bool {
        self.0 & 1 << state.index() != 0
    }

    /// What is in either.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// True if nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many states are in it.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// True if all of it is in the other.
    pub const fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The state, if it is only one.
    pub fn only(self) -> Option<State> {
        if self.len() == 1 { self.states().next() } else { None }
    }

    /// Its states, in the order of a connection's life.
    pub fn states(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| self.has(*state))
    }

    /// From one bit a state; other bits are left out.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// One bit a state, by [`State::index`].
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl From<State> for StateSet {
    fn from(state: State) -> Self {
        Self::one(state)
    }
}

impl FromIterator<State> for StateSet {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        states.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for StateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, state) in self.states().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            f.write_str(state.name())?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for StateSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_are_sets(a in 0..1u16 << State::COUNT, b in 0..1u16 << State::COUNT) {
            let (first, second) = (StateSet(a), StateSet(b));
            for state in State::ALL {
                prop_assert_eq!(first.or(second).has(state), first.has(state) || second.has(state));
                prop_assert_eq!(first.and(second).has(state), first.has(state) && second.has(state));
                prop_assert_eq!(first.minus(second).has(state), first.has(state) && !second.has(state));
                prop_assert!(!first.without(state).has(state) && first.with(state).has(state));
            }
            prop_assert_eq!(first.states().collect::<StateSet>(), first);
            prop_assert_eq!(first.states().count(), first.len());
            prop_assert_eq!(first.is_within(second), first.minus(second).is_empty());
            prop_assert_eq!(first.only().is_some(), first.len() == 1);
        }
    }
}
