//! `thumbnail`: scales an image down to fit 256 by 256 pixels and returns it as PNG.
//!
//! The input is PNG, JPEG or GIF. Smaller images keep their size.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};
use nebula_sdk::{Error, Payload};

/// The largest width and height of the answer.
const SIDE_MAX: u32 = 256;

/// The largest width and height of the input: a small file can hold a large image.
const INPUT_SIDE_MAX: u32 = 8192;

/// The most memory to decode the input with.
const DECODE_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Returns the image in `request`, scaled down, as PNG.
#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Result<Payload, Error> {
    let mut reader = ImageReader::new(Cursor::new(&request.body))
        .with_guessed_format()
        .map_err(|error| Error::bad_input(format!("cannot read the image: {error}")))?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::Gif) => {}
        Some(_) | None => return Err(Error::bad_input("send an image as PNG, JPEG or GIF")),
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(INPUT_SIDE_MAX);
    limits.max_image_height = Some(INPUT_SIDE_MAX);
    limits.max_alloc = Some(DECODE_BYTES_MAX);
    reader.limits(limits);
    let image =
        reader.decode().map_err(|error| Error::bad_input(format!("cannot decode the image: {error}")))?;
    let small = if image.width().max(image.height()) > SIDE_MAX {
        image.thumbnail(SIDE_MAX, SIDE_MAX)
    } else {
        image
    };
    let mut png = Vec::new();
    small.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map_err(Error::failed)?;
    Ok(Payload::new("image/png", png))
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImageView, RgbImage};

    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Payload {
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 128]));
        let mut bytes = Vec::new();
        DynamicImage::from(image).write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        Payload::new("image/*", bytes)
    }

    fn size(answer: &Payload) -> (u32, u32) {
        assert_eq!(answer.media_type, "image/png");
        image::load_from_memory(&answer.body).unwrap().dimensions()
    }

    #[test]
    fn large_images_shrink_in_proportion() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            assert_eq!(size(&handle(picture(1024, 512, format)).unwrap()), (256, 128));
        }
    }

    #[test]
    fn small_images_keep_their_size() {
        assert_eq!(size(&handle(picture(20, 10, ImageFormat::Png)).unwrap()), (20, 10));
    }

    #[test]
    fn bytes_that_are_not_an_image_are_refused() {
        let truncated = picture(64, 64, ImageFormat::Png).body[..80].to_vec();
        for bytes in [Vec::new(), b"not an image".to_vec(), b"\x89PNG\r\n\x1a\n".to_vec(), truncated] {
            assert!(matches!(handle(Payload::new("image/png", bytes)), Err(Error::BadInput(_))));
        }
    }
}
