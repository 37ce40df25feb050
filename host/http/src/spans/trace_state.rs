//! The `tracestate` of a request: what other tracing systems keep about its trace (W3C Trace Context
//! §3.3). Spans keep it as it came.

use http::{HeaderMap, HeaderName};

pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The longest state that is kept, bytes. Every system has to keep that much.
const BYTES_MAX: usize = 512;

/// Returns the state of a request: its lines as one list, without the members at its end that are
/// too many.
pub(super) fn of(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok());
    let members = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty());
    let mut state = String::new();
    for member in members {
        let comma = usize::from(!state.is_empty());
        if state.len() + comma + member.len() > BYTES_MAX {
            break;
        }
        state.push_str(&","[..comma]);
        state.push_str(member);
    }
    (!state.is_empty()).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_the_end_is_cut_between_members() {
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRACESTATE, line.parse().unwrap());
            }
            super::of(&headers)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["", " , "]), None);
        assert_eq!(of(&["a=1, b@c=2", "d=3"]).as_deref(), Some("a=1,b@c=2,d=3"));
        let long = format!("d={}", "x".repeat(BYTES_MAX));
        assert_eq!(of(&[&long]), None);
        let fits = format!("e={}", "x".repeat(BYTES_MAX - 2));
        assert_eq!(of(&[&fits, "f=1"]), Some(fits.clone()));
    }
}
