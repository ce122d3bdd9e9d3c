//! Buffers of the turn that come back when the last reference to them is gone.
//!
//! Invariants: a buffer is written by one turn, then only read; what a slow socket still refers to is never reused.

use std::rc::Rc;

use crate::limits::KEPT_BUFFER_BYTES;

/// Takes an empty buffer out of `lent`: one that nothing refers to any more, or a new one.
#[must_use]
pub fn reclaim(lent: &mut Vec<Rc<Vec<u8>>>) -> Vec<u8> {
    for place in (0..lent.len()).rev() {
        if Rc::strong_count(&lent[place]) == 1
            && let Ok(mut buffer) = Rc::try_unwrap(lent.swap_remove(place))
            && buffer.capacity() <= KEPT_BUFFER_BYTES
        {
            buffer.clear();
            return buffer;
        }
    }
    // Whatever is still referred to belongs to its readers alone from now on.
    if lent.len() > 8 {
        lent.clear();
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reuses_only_what_nobody_reads() {
        let mut lent = vec![Rc::new(Vec::with_capacity(100)), Rc::new(Vec::with_capacity(200))];
        let reader = Rc::clone(&lent[1]);
        assert_eq!(reclaim(&mut lent).capacity(), 100);
        assert_eq!(reclaim(&mut lent).capacity(), 0);
        drop(reader);
        assert_eq!(reclaim(&mut lent).capacity(), 200);
        assert!(lent.is_empty());
    }
}
