use proptest::prelude::*;

use super::*;

fn key() -> LogKey {
    LogKey::new(&Secret::new([7; 32]))
}

fn seal(changes: Vec<RawChange>) -> LogRecord {
    LogRecord::seal(&key(), Sequence::new(3), [5; 32], changes).unwrap()
}

fn raw_changes() -> impl Strategy<Value = Vec<RawChange>> {
    let change = (any::<u16>(), prop::collection::vec(any::<u8>(), 0..200));
    prop::collection::vec(change.prop_map(|(kind, content)| RawChange { kind, content }), 0..8)
}

proptest! {
    #[test]
    fn a_sealed_record_opens_as_it_was(
        sequence: u64, previous: [u8; 32], secret: [u8; 32], changes in raw_changes(),
    ) {
        let key = LogKey::new(&Secret::new(secret));
        let record = LogRecord::seal(&key, Sequence::new(sequence), previous, changes.clone()).unwrap();
        let opened = LogRecord::open(&key, record.bytes().to_vec()).unwrap();
        prop_assert_eq!(&opened, &record);
        prop_assert_eq!(opened.sequence().number(), sequence);
        prop_assert_eq!(opened.previous(), &previous);
        prop_assert_eq!(opened.raw_changes(), changes);
    }

    #[test]
    fn a_record_with_any_altered_bit_is_refused(changes in raw_changes(), at: prop::sample::Index, bit in 0..8) {
        let mut bytes = seal(changes).bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(LogRecord::open(&key(), bytes).is_err());
    }

    #[test]
    fn a_record_of_another_length_is_refused(changes in raw_changes(), at: prop::sample::Index, more: u8) {
        let bytes = seal(changes).bytes().to_vec();
        prop_assert!(LogRecord::open(&key(), bytes[..at.index(bytes.len())].to_vec()).is_err());
        prop_assert!(LogRecord::open(&key(), [&bytes[..], &[more]].concat()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        prop_assert!(LogRecord::open(&key(), bytes).is_err());
    }

    /// Only a holder of the key can write this, for example a defective release.
    #[test]
    fn authentic_bytes_of_another_layout_never_panic(
        tail in prop::collection::vec(any::<u8>(), 0..100), count: u32,
    ) {
        let mut bytes = seal(Vec::new()).bytes()[..52].to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(tail);
        bytes.extend(key().mac(&bytes).as_bytes());
        if let Ok(record) = LogRecord::open(&key(), bytes.clone()) {
            let again = LogRecord::seal(&key(), record.sequence(), *record.previous(), record.changes.clone());
            let again = again.unwrap();
            prop_assert_eq!(again.bytes(), bytes);
        }
    }

    #[test]
    fn arbitrary_content_of_a_change_never_panics(kind in 0..8_u16, content: Vec<u8>) {
        if let Ok(change) = (RawChange { kind, content }).parse() {
            // Written again it means the same.
            prop_assert_eq!(RawChange::from(&change).parse().unwrap(), change);
        }
    }
}

#[test]
fn refusals_say_why() {
    let bytes = seal(Vec::new()).bytes().to_vec();
    let error = |bytes: &[u8]| LogRecord::open(&key(), bytes.to_vec()).unwrap_err();
    let with = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 2;
        bytes
    };
    assert!(matches!(error(&bytes[..3]), RecordError::Malformed));
    assert!(matches!(error(&with(0)), RecordError::OtherFormat { found: 3 }));
    assert!(matches!(error(&with(4)), RecordError::WrongMac));
    assert!(matches!(error(&with(12)), RecordError::OtherKey));
    assert!(matches!(error(&with(20)), RecordError::WrongMac));
    assert!(matches!(error(&with(bytes.len() - 1)), RecordError::WrongMac));
    let other = LogRecord::open(&LogKey::new(&Secret::new([8; 32])), bytes).unwrap_err();
    assert!(matches!(other, RecordError::OtherKey));
}

/// The layout is on disks: this record was written when format 1 was settled.
#[test]
fn the_layout_of_format_1_is_fixed() {
    let change = RawChange { kind: 3, content: b"f".to_vec() };
    let record = LogRecord::seal(&key(), Sequence::new(1), NO_RECORD, vec![change]).unwrap();
    let expected = [
        "01000000",
        "0100000000000000",
        "91539f7d7342ad60",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "01000000",
        "0300",
        "01000000",
        "66",
        "04f7aebd4ad04d879d98316ef2744a96876e13c920e8ca4424c8700141389d89",
    ];
    assert_eq!(hex::encode(record.bytes()), expected.concat());
}
