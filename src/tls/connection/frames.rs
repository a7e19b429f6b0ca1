//! Follows the frames of an HTTP/2 client, to see whether one is incomplete.

/// Follows the bytes of an HTTP/2 client after its preface, frame by frame (RFC 9113 §4.1).
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// How many bytes of the frame's head have come.
    came: usize,
    /// How many bytes of its payload have yet to come.
    remaining: usize,
    /// The first frame is complete.
    is_open: bool,
    /// A CONTINUATION frame must follow.
    in_headers: bool,
}

impl Frames {
    /// Takes the next bytes. Returns whether there was a point in them at which nothing was
    /// incomplete.
    pub(super) fn come(&mut self, mut bytes: &[u8]) -> bool {
        let mut rested = false;
        while let [first, rest @ ..] = bytes {
            if self.remaining > 0 {
                let (_, later) = bytes.split_at(self.remaining.min(bytes.len()));
                self.remaining -= bytes.len() - later.len();
                bytes = later;
            } else {
                if let Some(slot) = self.head.get_mut(self.came) {
                    *slot = *first;
                }
                self.came += 1;
                bytes = rest;
                if self.came == HEAD {
                    let [high, middle, low, ..] = self.head;
                    let length = u32::from_be_bytes([0, high, middle, low]);
                    self.remaining = usize::try_from(length).unwrap_or(usize::MAX);
                }
            }
            if self.came == HEAD && self.remaining == 0 {
                self.whole();
                rested |= !self.is_under_way();
            }
        }
        rested
    }

    /// Whether a frame, or headers with their continuations, has begun and is incomplete.
    pub(super) fn is_under_way(&self) -> bool {
        !self.is_open || self.in_headers || self.came > 0
    }

    /// Whether the incomplete frame is part of a body.
    pub(super) fn is_in_body(&self) -> bool {
        self.is_open && !self.in_headers && self.came == HEAD && self.frame_type() == DATA
    }

    fn whole(&mut self) {
        let [_, _, _, frame_type, flags, ..] = self.head;
        if matches!(frame_type, HEADERS | CONTINUATION) {
            self.in_headers = flags & END_HEADERS == 0;
        }
        self.came = 0;
        self.is_open = true;
    }

    fn frame_type(&self) -> u8 {
        let [_, _, _, frame_type, ..] = self.head;
        frame_type
    }
}

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(frame_type: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, frame_type, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + usize::from(length), 0);
        bytes
    }

    #[test]
    fn what_is_under_way_is_told_from_a_body() {
        let settings = frame(4, 0, 0);
        let open = frame(HEADERS, END_HEADERS, 3);
        let begun = frame(HEADERS, 0, 3);
        let more = frame(CONTINUATION, 0, 2);
        let last = frame(CONTINUATION, END_HEADERS, 2);
        let data = frame(DATA, 0, 5);
        let part = |bytes: &[u8], count| bytes.get(..count).unwrap().to_vec();
        for (name, frames, expected) in [
            ("nothing", vec![], true),
            ("half of the first", vec![part(&settings, 5)], true),
            ("the first", vec![settings.clone()], false),
            ("headers", vec![settings.clone(), open.clone()], false),
            (
                "half a frame",
                vec![settings.clone(), part(&open, 10)],
                true,
            ),
            ("half a head", vec![settings.clone(), part(&data, 8)], true),
            (
                "half a body",
                vec![settings.clone(), open.clone(), part(&data, 9)],
                false,
            ),
            (
                "most of a body",
                vec![settings.clone(), open.clone(), part(&data, 13)],
                false,
            ),
            (
                "headers without end",
                vec![settings.clone(), begun.clone()],
                true,
            ),
            (
                "and more",
                vec![settings.clone(), begun.clone(), more.clone()],
                true,
            ),
            (
                "and the end",
                vec![settings.clone(), begun, more, last],
                false,
            ),
            ("a body", vec![settings, open, data], false),
        ] {
            let bytes = frames.concat();
            let mut whole = Frames::default();
            whole.come(&bytes);
            let has_begun = |frames: &Frames| frames.is_under_way() && !frames.is_in_body();
            assert_eq!(has_begun(&whole), expected, "{name}");
            let mut by_byte = Frames::default();
            for byte in bytes {
                by_byte.come(&[byte]);
            }
            assert_eq!(has_begun(&by_byte), expected, "{name}, byte by byte");
        }
    }

    #[test]
    fn what_ends_and_begins_in_one_read_has_begun_anew() {
        let mut frames = Frames::default();
        assert!(frames.come(&frame(4, 0, 0)));
        let (first, second) = (frame(HEADERS, END_HEADERS, 3), frame(HEADERS, 0, 3));
        assert!(!frames.come(first.get(..5).unwrap()));
        let rest = [first.get(5..).unwrap(), second.get(..5).unwrap()].concat();
        assert!(frames.come(&rest));
        assert!(frames.is_under_way());
        assert!(!frames.come(second.get(5..).unwrap()), "it goes on");
    }
}
