//! Counts gRPC messages in a stream of bytes.

use bytes::Buf;

/// Counts the messages of a gRPC stream as its bytes pass. Each message is preceded by one flag
/// byte and four bytes of length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GrpcMessages {
    count: u64,
    /// The number of prefix bytes seen, and the part of the length that they hold.
    prefix: u8,
    length: u32,
    /// The number of bytes of the current message still to come.
    rest: u64,
}

impl GrpcMessages {
    /// The number of messages that have begun.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Reads the next bytes of the stream.
    ///
    /// If the buffer has several chunks, only the first can be read. The others count as part of
    /// the current message.
    pub(super) fn see(&mut self, data: &impl Buf) {
        let mut bytes = data.chunk();
        let unseen = data.remaining().saturating_sub(bytes.len());
        while !bytes.is_empty() {
            let message = usize::try_from(self.rest).unwrap_or(usize::MAX);
            if let Some((_, after)) = bytes.split_at_checked(message) {
                self.rest = 0;
                bytes = self.see_prefix(after);
            } else {
                self.rest -= bytes.len() as u64;
                bytes = &[];
            }
        }
        self.rest = self.rest.saturating_sub(unseen as u64);
    }

    fn see_prefix<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some((first, after)) = bytes.split_first() else {
            return bytes;
        };
        if self.prefix == 0 {
            self.count += 1;
        } else {
            self.length = self.length << 8 | u32::from(*first);
        }
        self.prefix += 1;
        if self.prefix == PREFIX {
            self.rest = u64::from(self.length);
            (self.prefix, self.length) = (0, 0);
        }
        after
    }
}

const PREFIX: u8 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(lengths: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        for length in lengths {
            stream.push(0);
            stream.extend_from_slice(&u32::try_from(*length).unwrap().to_be_bytes());
            stream.extend(std::iter::repeat_n(0xff, *length));
        }
        stream
    }

    #[test]
    fn a_message_counts_as_soon_as_it_begins() {
        let mut messages = GrpcMessages::default();
        messages.see(&&[0][..]);
        assert_eq!(messages.count(), 1);
        messages.see(&&[0, 0, 0, 2, 9][..]);
        messages.see(&&[9][..]);
        assert_eq!(messages.count(), 1);
        messages.see(&&[1, 0][..]);
        assert_eq!(messages.count(), 2);
    }

    #[test]
    fn a_message_of_any_length_is_stepped_over() {
        let mut messages = GrpcMessages::default();
        messages.see(&&[0, 0xff, 0xff, 0xff, 0xff][..]);
        messages.see(&&[0; 1000][..]);
        assert_eq!(messages.count(), 1);
    }

    proptest! {
        #[test]
        fn messages_are_counted_however_the_stream_is_cut(
            lengths in prop::collection::vec(0usize..300, 0..20),
            cut in 1usize..50,
        ) {
            let mut messages = GrpcMessages::default();
            for piece in stream(&lengths).chunks(cut) {
                messages.see(&piece);
            }
            prop_assert_eq!(messages.count(), lengths.len() as u64);
        }
    }
}
