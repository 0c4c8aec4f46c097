//! Memory that will be needed soon is asked for ahead of time.

/// Has the line of cache brought in that holds the beginning of this, and does not wait for it.
#[inline]
pub(crate) fn prefetch<T: Copy>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(unsafe_code, reason = "nothing else asks for memory and goes on at once")]
        // SAFETY: A prefetch changes nothing that a program can see, whatever address it is given.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast());
        }
    }
    // Elsewhere it is read: a processor goes on for a while before it has to wait for that.
    #[cfg(not(target_arch = "x86_64"))]
    std::hint::black_box(*place);
}
