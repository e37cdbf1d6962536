//! Numbers of a body, read byte by byte.

/// Digits that surely fit a signed 64-bit number.
pub(super) const LONGEST_NUMBER: usize = 18;

/// Where a number stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Digits {
    /// Behind the sign.
    Sign,
    /// Behind a leading zero.
    Zero,
    Whole,
    /// Behind the point.
    Point,
    Fraction,
    /// Behind `e`.
    Exponent,
    /// Behind the sign of the exponent.
    ExponentSign,
    Power,
}

impl Digits {
    pub(super) fn first(byte: u8) -> Digits {
        match byte {
            b'-' => Digits::Sign,
            b'0' => Digits::Zero,
            _ => Digits::Whole,
        }
    }

    /// With the next byte; None: the byte does not belong to the number.
    pub(super) fn next(self, byte: u8) -> Option<Digits> {
        use Digits::{Exponent, ExponentSign, Fraction, Point, Power, Sign, Whole, Zero};
        Some(match (self, byte) {
            (Sign, b'0') => Zero,
            (Sign | Whole, b'0'..=b'9') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => ExponentSign,
            (Exponent | ExponentSign | Power, b'0'..=b'9') => Power,
            _ => return None,
        })
    }

    /// The number may end here.
    pub(super) fn whole(self) -> bool {
        matches!(
            self,
            Digits::Zero | Digits::Whole | Digits::Fraction | Digits::Power
        )
    }
}

/// An integer without sign, fraction, exponent and leading zero.
pub(crate) fn integer(number: &[u8]) -> Option<i64> {
    let simple = number.len() <= LONGEST_NUMBER && number.iter().all(u8::is_ascii_digit);
    if !simple {
        return None;
    }
    std::str::from_utf8(number).ok()?.parse().ok()
}
