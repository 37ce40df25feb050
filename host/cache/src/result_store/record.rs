//! A cached result as bytes that authenticate themselves, so that any medium may hold them.
//!
//! ```text
//! MAC, 32 bytes | length of the head, 4 bytes, little-endian | head, JSON | body
//! ```
//!
//! The MAC is keyed BLAKE3 over the result's cache key and everything after the MAC. Any other
//! bytes aren't a record, and the caller computes the result again.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use nebula_model::answer::{Answer, Content};
use nebula_model::id::Digest;
use nebula_model::trailers;
use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::result::CachedResult;

const LENGTH_BYTES: usize = 4;

/// All of a result except its body.
#[derive(Serialize, Deserialize)]
struct Head {
    answer: Kind,
    component: Digest,
    cost_us: u64,
    engine: String,
    stored_at_unix_s: u64,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Value {
        media_type: String,
    },
    Error {
        media_type: String,
    },
    Http {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        trailers: Vec<(String, Vec<u8>)>,
    },
}

/// Makes records and reads them.
#[derive(Clone)]
pub struct RecordSeal {
    mac_key: [u8; 32],
    /// The engine of this process, which computed most records.
    engine: &'static str,
}

impl RecordSeal {
    /// Creates the seal of records under one MAC key. `engine` names the engine of this process.
    pub fn new(mac_key: [u8; 32], engine: &'static str) -> Self {
        Self { mac_key, engine }
    }

    /// Encodes a result as a record. Returns `None` for a failure, which isn't stored.
    pub fn seal<E>(&self, key: &Key, cached: &CachedResult<E>) -> Option<Vec<u8>> {
        let answer = cached.result.as_ref().ok()?;
        let body = answer.body();
        let answer = match answer {
            Answer::Value(content) => Kind::Value { media_type: content.media_type.as_ref().to_owned() },
            Answer::Error(content) => Kind::Error { media_type: content.media_type.as_ref().to_owned() },
            Answer::Http(response) => {
                let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    (name.as_str().to_owned(), value.as_bytes().to_vec())
                };
                let headers = response.headers().iter().map(field).collect();
                let trailers = trailers::of(response.extensions()).into_iter().flatten();
                let trailers = trailers.map(field).collect();
                Kind::Http { status: response.status().as_u16(), headers, trailers }
            }
        };
        let stored_at = cached.stored_at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let head = Head {
            answer,
            component: cached.component,
            cost_us: u64::try_from(cached.cost.as_micros()).unwrap_or(u64::MAX),
            engine: cached.engine.as_ref().to_owned(),
            stored_at_unix_s: stored_at.as_secs(),
        };
        #[expect(clippy::expect_used, reason = "strings and numbers: there is nothing to refuse")]
        let head = serde_json::to_vec(&head).expect("a head serializes");
        let mut content = Vec::with_capacity(LENGTH_BYTES + head.len() + body.len());
        content.extend(u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes());
        content.extend(head);
        content.extend(body);
        let mut record = Vec::with_capacity(blake3::OUT_LEN + content.len());
        record.extend(self.mac(key, &content).as_bytes());
        record.extend(content);
        Some(record)
    }

    /// Decodes a record. Returns `None` unless the record is complete, authentic and of this key.
    pub fn open<E>(&self, key: &Key, record: &[u8]) -> Option<CachedResult<E>> {
        let (found, content) = record.split_first_chunk::<{ blake3::OUT_LEN }>()?;
        // `blake3::Hash` compares in constant time.
        if self.mac(key, content) != *found {
            return None;
        }
        let (length, rest) = content.split_first_chunk::<LENGTH_BYTES>()?;
        let (head, body) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let head: Head = serde_json::from_slice(head).ok()?;
        let body = Bytes::copy_from_slice(body);
        let content = |media_type: String, body| Content { media_type: media_type.into(), body };
        let answer = match head.answer {
            Kind::Value { media_type } => Answer::Value(content(media_type, body)),
            Kind::Error { media_type } => Answer::Error(content(media_type, body)),
            Kind::Http { status, headers, trailers } => {
                let mut response = http::Response::builder().status(status).body(body).ok()?;
                *response.headers_mut() = fields(headers)?;
                trailers::attach(response.extensions_mut(), fields(trailers)?);
                Answer::Http(Box::new(response))
            }
        };
        let cost = Duration::from_micros(head.cost_us);
        let stored_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(head.stored_at_unix_s))?;
        // Usually this process's own engine, whose text can be borrowed.
        let engine = match head.engine {
            own if own == self.engine => Cow::Borrowed(self.engine),
            other => Cow::Owned(other),
        };
        Some(CachedResult { stored_at, ..CachedResult::new(Ok(answer), head.component, cost, engine) })
    }

    fn mac(&self, key: &Key, content: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.mac_key);
        hasher.update(key.bytes());
        hasher.update(content);
        hasher.finalize()
    }
}

/// Decodes headers or trailers.
fn fields(encoded: Vec<(String, Vec<u8>)>) -> Option<HeaderMap> {
    let mut fields = HeaderMap::new();
    for (name, value) in encoded {
        let name = HeaderName::try_from(name).ok()?;
        // `append` panics above the most fields that a map holds.
        fields.try_append(name, HeaderValue::try_from(value).ok()?).ok()?;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use serde_json::json;

    use super::*;
    use crate::testing::{CachedResult, ENGINE, Failed, cached, key};

    fn seal() -> RecordSeal {
        RecordSeal::new([7; 32], ENGINE)
    }

    fn open(key: &Key, record: &[u8]) -> Option<CachedResult> {
        seal().open(key, record)
    }

    fn response() -> Answer {
        let response = http::Response::builder().status(418).header("x-a", "1").header("x-a", "2");
        let response = response.header("x-b", http::HeaderValue::from_bytes(b"\xff").unwrap());
        Answer::Http(Box::new(response.body(Bytes::from_static(b"tea")).unwrap()))
    }

    #[test]
    fn sealed_result_opens_to_the_same_result() {
        let content = Content { media_type: "text/x".into(), body: Bytes::from_static(b"\x00\xff") };
        for answer in [Answer::Value(content.clone()), Answer::Error(content), response()] {
            let cost = Duration::from_micros(1234);
            let written = CachedResult::new(Ok(answer), Digest::of(b"component"), cost, ENGINE.into());
            let written = CachedResult { engine: "another".into(), ..written };
            let opened = open(&key(1), &seal().seal(&key(1), &written).unwrap()).unwrap();
            assert_eq!(format!("{:?}", opened.result), format!("{:?}", written.result));
            assert_eq!(
                (opened.cost, opened.component, &opened.engine),
                (cost, written.component, &written.engine)
            );
            assert_eq!((opened.content_hash, opened.age_s()), (written.content_hash, written.age_s()));
        }
    }

    #[test]
    fn a_failure_has_no_record() {
        let failed = Err(Arc::new(Failed));
        let failed =
            CachedResult::new(failed, Digest::of(b"component"), Duration::from_secs(1), ENGINE.into());
        assert!(seal().seal(&key(1), &failed).is_none());
    }

    #[test]
    fn other_bytes_are_rejected() {
        let record = seal().seal(&key(1), &cached(20, Duration::from_secs(1))).unwrap();
        assert!(open(&key(2), &record).is_none());
        assert!(RecordSeal::new([8; 32], ENGINE).open::<Failed>(&key(1), &record).is_none());
        for length in 0..record.len() {
            assert!(open(&key(1), &record[..length]).is_none(), "{length}");
        }
        for index in 0..record.len() {
            let mut other = record.clone();
            other[index] ^= 1;
            assert!(open(&key(1), &other).is_none(), "{index}");
        }
        assert!(open(&key(1), &[record, vec![0]].concat()).is_none());
    }

    /// Generates any answer.
    fn any_answer() -> impl Strategy<Value = Answer> {
        let body = || vec(any::<u8>(), 0..100).prop_map(Bytes::from);
        let content = || {
            (".{0,20}", body()).prop_map(|(media_type, body)| Content { media_type: media_type.into(), body })
        };
        let text = prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8];
        let headers = vec(("[a-z][a-z0-9-]{0,9}", vec(text, 0..20)), 0..6);
        let response = (100..=999_u16, headers.clone(), body(), headers);
        let response = response.prop_map(|(status, headers, body, trailers)| {
            let encoded = |lines: Vec<(String, Vec<u8>)>| fields(lines).unwrap();
            let mut response = http::Response::builder().status(status).body(body).unwrap();
            *response.headers_mut() = encoded(headers);
            trailers::attach(response.extensions_mut(), encoded(trailers));
            response
        });
        prop_oneof![
            content().prop_map(Answer::Value),
            content().prop_map(Answer::Error),
            response.prop_map(|response| Answer::Http(Box::new(response))),
        ]
    }

    fn any_result() -> impl Strategy<Value = CachedResult> {
        (any_answer(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(answer, component, cost_us)| {
            CachedResult::new(
                Ok(answer),
                Digest::from_bytes(component),
                Duration::from_micros(cost_us),
                ENGINE.into(),
            )
        })
    }

    fn is_same(one: &CachedResult, other: &CachedResult) -> bool {
        let told = |result: &CachedResult| (format!("{:?}", result.result), result.cost, result.component);
        let is_same_answer = match (&one.result, &other.result) {
            (Ok(one), Ok(other)) => one.same(other),
            (Ok(_) | Err(_), _) => one.result.is_err() && other.result.is_err(),
        };
        told(one) == told(other) && one.content_hash == other.content_hash && is_same_answer
    }

    /// Seals any content as a record, which requires the MAC key.
    fn sealed(content: &[u8]) -> Vec<u8> {
        [seal().mac(&key(1), content).as_bytes(), content].concat()
    }

    /// Collects pointers (RFC 6901) to all values in `value`, which is itself at `at`.
    fn pointers(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match value {
            serde_json::Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(index, item)| pointers(item, &format!("{at}/{index}"), found));
            }
            serde_json::Value::Object(fields) => {
                fields.iter().for_each(|(name, item)| pointers(item, &format!("{at}/{name}"), found));
            }
            serde_json::Value::Null
            | serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_) => {}
        }
    }

    /// Generates content that another or a faulty release might write: a record's content with
    /// other values in its head, other bytes, or another length.
    fn any_content() -> impl Strategy<Value = Vec<u8>> {
        let other = select(vec![
            json!(null),
            json!(-1),
            json!(0.5),
            json!(65536),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(99),
            json!(""),
            json!("a\nb"),
            json!([]),
            json!({}),
            json!([["x", [0, 10]]]),
            json!({ "Value": { "media_type": "x" } }),
        ]);
        let values = vec((any::<Index>(), other), 0..3);
        let bytes = vec((any::<Index>(), any::<u8>()), 0..3);
        let length =
            prop_oneof![4 => Just(None), 1 => any::<u32>().prop_map(Some), 1 => (0..200_u32).prop_map(Some)];
        let altered = (any_result(), values, bytes, length).prop_map(|(result, values, bytes, length)| {
            let record = seal().seal(&key(1), &result).unwrap();
            let content = &record[blake3::OUT_LEN..];
            let (head_bytes, rest) = content.split_first_chunk::<LENGTH_BYTES>().unwrap();
            let (head, body) = rest.split_at(u32::from_le_bytes(*head_bytes) as usize);
            let mut head: serde_json::Value = serde_json::from_slice(head).unwrap();
            for (place, other) in values {
                let mut found = Vec::new();
                pointers(&head, "", &mut found);
                *head.pointer_mut(place.get::<String>(&found)).unwrap() = other;
            }
            let mut head = head.to_string().into_bytes();
            for (place, byte) in bytes {
                let place = place.index(head.len());
                head[place] = byte;
            }
            let length = length.unwrap_or(head.len() as u32);
            [&length.to_le_bytes()[..], &head, body].concat()
        });
        prop_oneof![9 => altered, 1 => vec(any::<u8>(), 0..100)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_result_round_trips(written in any_result()) {
            let record = seal().seal(&key(1), &written).unwrap();
            prop_assert!(is_same(&open(&key(1), &record).unwrap(), &written));
        }

        #[test]
        fn unauthenticated_bytes_are_rejected(content in any_content(), mac: [u8; 32], bytes: Vec<u8>) {
            let record = [&mac[..], &content].concat();
            prop_assert!(open(&key(1), &record).is_none());
            prop_assert!(open(&key(1), &bytes).is_none());
        }

        /// Authentic content of any kind decodes to a usable result that can be written again, or
        /// to `None`.
        #[test]
        fn any_authentic_content_is_usable_or_rejected(content in any_content()) {
            if let Some(result) = open(&key(1), &sealed(&content)) {
                prop_assert!(result.is_fresh(None) && result.age_s() < u64::MAX && result.bytes() > 0);
                let again = seal().seal(&key(1), &result).unwrap();
                let again = open(&key(1), &again).unwrap();
                prop_assert!(is_same(&again, &result));
                prop_assert!(open(&key(2), &sealed(&content)).is_none());
            }
        }
    }
}
