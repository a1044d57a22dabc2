//! A frame of any link type, whole or cut.
//!
//! Input: one byte that chooses the link type, two (little-endian) that say how many bytes of the packet are missing at
//! its end, then the frame.

#[path = "../../ntc-common/tests/parse/invariants.rs"]
mod invariants;

use invariants::{LINKS, checked};

/// Parses the frame and checks what must hold for any answer.
///
/// # Panics
/// Where it does not.
pub fn run(input: &[u8]) {
    let [link, missing0, missing1, frame @ ..] = input else { return };
    let link = LINKS[usize::from(*link) % LINKS.len()];
    let missing = u16::from_le_bytes([*missing0, *missing1]);
    let answer = checked(link, frame, frame.len() + usize::from(missing));
    // Cut where a snap length cut it, a packet tells less, but nothing else.
    if let (Ok(whole), Some(cut)) = (answer, frame.len().checked_sub(1))
        && let Ok(part) = checked(link, &frame[..cut], frame.len() + usize::from(missing))
    {
        assert_eq!(part, whole, "a byte that was not captured changed the answer");
    }
}
