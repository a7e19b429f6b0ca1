/// Reads the fields of one protobuf message, in order. If the bytes are not a message, it yields
/// `None` once and then ends.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// A field's value. Metadata uses length-delimited fields only; others are skipped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field<'a> {
    Bytes(&'a [u8]),
    Other,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u32, Field<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
        let field = match tag & 7 {
            0 => {
                self.varint()?;
                Field::Other
            }
            1 => self.take(8).map(|_| Field::Other)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Field::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Field::Other)?,
            // Groups, which are obsolete.
            _ => return None,
        };
        Some((number, field))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Option<(u32, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Writes length-delimited fields of one protobuf message.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn bytes(&mut self, number: u32, value: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "seven bits of the value at a time"
    )]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 & 0x7f | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_at_every_length_of_a_length() {
        for length in [0, 1, 127, 128, 16_383, 16_384] {
            let mut writer = Writer::default();
            let bytes = vec![7; length];
            writer.bytes(3, &bytes);
            let fields: Vec<_> = Reader::new(writer.as_bytes()).collect();
            assert_eq!(fields, [Some((3, Field::Bytes(&bytes)))]);
        }
    }

    #[test]
    fn steps_over_numbers_and_stops_at_nonsense() {
        let number = [0x08, 0x96, 0x01];
        assert_eq!(
            Reader::new(&number).collect::<Vec<_>>(),
            [Some((1, Field::Other))]
        );
        for bytes in [
            &[0x0a][..],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x00, 0x00],
            &[0xff; 12],
            &[0x09, 1],
        ] {
            assert_eq!(Reader::new(bytes).collect::<Vec<_>>(), [None], "{bytes:?}");
        }
    }
}
