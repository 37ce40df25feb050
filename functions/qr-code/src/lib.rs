//! `qr-code`: encodes text as a QR code (ISO/IEC 18004) in SVG.
//!
//! The text is UTF-8 of up to 2,331 bytes.

use nebula_sdk::{Error, Payload};
use qrcode::render::svg;
use qrcode::types::QrError;
use qrcode::{EcLevel, QrCode};

/// The capacity of the largest code at this level of error correction.
const BYTES_MAX: usize = 2331;

/// Returns the QR code of the text in `request` as SVG.
#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Result<Payload, Error> {
    let text = request.as_text()?.trim_end_matches('\n');
    if text.is_empty() {
        return Err(Error::bad_input("the text is empty: send the text to encode"));
    }
    let code = QrCode::with_error_correction_level(text, EcLevel::M).map_err(|error| match error {
        QrError::DataTooLong => {
            Error::bad_input(format!("the text must have at most {BYTES_MAX} bytes, not {}", text.len()))
        }
        error => Error::failed(error),
    })?;
    let image = code
        .render::<svg::Color<'_>>()
        .min_dimensions(256, 256)
        .dark_color(svg::Color("#000000"))
        .light_color(svg::Color("#ffffff"))
        .build();
    Ok(Payload::new("image/svg+xml", image))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_svg() {
        let answer = handle(Payload::text("https://example.org")).unwrap();
        assert_eq!(answer.media_type, "image/svg+xml");
        assert!(answer.as_text().unwrap().contains("<svg"));
    }

    #[test]
    fn text_beyond_the_capacity_is_refused() {
        assert!(handle(Payload::text("\u{e9}".repeat(BYTES_MAX / 2))).is_ok());
        assert!(matches!(handle(Payload::text("x".repeat(BYTES_MAX + 1))), Err(Error::BadInput(_))));
    }

    #[test]
    fn empty_text_and_invalid_utf8_are_refused() {
        for body in [&b""[..], b"\n", b"\xff"] {
            assert!(matches!(handle(Payload::new("text/plain", body)), Err(Error::BadInput(_))));
        }
    }
}
