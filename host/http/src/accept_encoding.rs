//! The `Accept-Encoding` header: the content coding that a client prefers (RFC 9110 §12.5.3).

use http::{HeaderMap, header};

use crate::accept::quality;
use crate::coding::Coding;

/// Returns the coding to send content in, or `None` to send it as it is.
///
/// The coding with the highest quality wins, and among equals the one that the server prefers. `*`
/// stands for gzip, because clients that send it may not know the newer ones.
pub(crate) fn preferred(headers: &HeaderMap) -> Option<Coding> {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    let mut wanted = [None; Coding::ALL.len()];
    let (mut identity, mut any) = (None, None);
    for item in lines.flat_map(|line| line.split(',')) {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        // Ignore an item with a malformed quality.
        let Some(quality) = quality(parts) else { continue };
        match Coding::of(name) {
            Some(coding) => wanted[coding as usize] = Some(quality),
            None if name == "*" => any = Some(quality),
            None if name.eq_ignore_ascii_case("identity") => identity = Some(quality),
            None => {}
        }
    }
    let gzip = &mut wanted[Coding::Gzip as usize];
    *gzip = gzip.or(any);
    let quality = |coding: Coding| wanted[coding as usize].unwrap_or(0);
    // `max_by_key` returns the last of several, and the server's preference is in the other order.
    let best = Coding::ALL.into_iter().rev().max_by_key(|&coding| quality(coding))?;
    // `identity` is acceptable unless the header says otherwise, and the last choice unless it says
    // how much it is wanted.
    let is_wanted = quality(best) > 0 && identity.is_none_or(|identity| identity <= quality(best));
    is_wanted.then_some(best)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_most_wanted_coding_is_preferred() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        for (lines, expected) in [
            (&[][..], None),
            (&[""], None),
            (&["gzip"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["GZIP;Q=0.5"], Some(Gzip)),
            (&["deflate"], Some(Deflate)),
            (&["gzip, deflate"], Some(Gzip)),
            (&["gzip, deflate, br"], Some(Brotli)),
            (&["gzip, deflate, br, zstd"], Some(Zstd)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip;q=1.0, br;q=0.9, zstd;q=0"], Some(Gzip)),
            (&["gzip;q=0"], None),
            (&["gzip;q=0.000, br;q=0.001"], Some(Brotli)),
            (&["identity"], None),
            (&["identity, gzip"], Some(Gzip)),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.4, br"], Some(Brotli)),
            (&["identity;q=0"], None),
            (&["*"], Some(Gzip)),
            (&["*;q=0"], None),
            (&["gzip;q=0, *"], None),
            (&["br;q=0.5, *;q=0.6"], Some(Gzip)),
            (&["compress, sdch"], None),
            (&["gzip;q=2, br"], Some(Brotli)),
            (&["gzip;q=, br;x=1"], Some(Brotli)),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
            }
            assert_eq!(preferred(&headers), expected, "{lines:?}");
        }
    }
}
