//! `memeify`: draws captions at the top and the bottom of an image and returns it as PNG.
//!
//! The input image is PNG or JPEG, in base64 as JSON holds bytes:
//! `{"image": "iVBOR…", "top": "one does not simply", "bottom": "read a clock"}`.

mod caption;

/// The largest width and height of the input: a small file can hold a large image.
const SIDE_MAX: u32 = 4096;

/// The most memory to decode the input with.
const DECODE_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// The most characters of a caption.
const CAPTION_MAX: usize = 200;

#[nebula_sdk::function]
mod memeify {
    use std::io::Cursor;

    use image::{ImageFormat, ImageReader, Limits};

    use super::{CAPTION_MAX, DECODE_BYTES_MAX, SIDE_MAX, caption};

    /// An image and its captions.
    pub struct Meme {
        /// A PNG or a JPEG.
        pub image: Vec<u8>,
        /// The caption at the top, drawn in capitals.
        pub top: Option<String>,
        /// The caption at the bottom, drawn in capitals.
        pub bottom: Option<String>,
    }

    /// The reason why no picture was made.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Error {
        /// The image can't be read, for this reason.
        UnreadableImage(String),
        /// A caption has more than this number of characters.
        CaptionTooLong(u32),
    }

    /// Draws the captions and returns the image as PNG.
    pub fn handle(meme: Meme) -> Result<Vec<u8>, Error> {
        let unreadable = |error: &dyn std::fmt::Display| Error::UnreadableImage(error.to_string());
        let captions = [(meme.top, caption::Place::Top), (meme.bottom, caption::Place::Bottom)];
        if captions
            .iter()
            .any(|(text, _)| text.as_ref().is_some_and(|text| text.chars().count() > CAPTION_MAX))
        {
            return Err(Error::CaptionTooLong(CAPTION_MAX as u32));
        }
        let mut reader = ImageReader::new(Cursor::new(&meme.image))
            .with_guessed_format()
            .map_err(|error| unreadable(&error))?;
        if !matches!(reader.format(), Some(ImageFormat::Png | ImageFormat::Jpeg)) {
            return Err(unreadable(&"it is neither PNG nor JPEG"));
        }
        let mut limits = Limits::default();
        limits.max_image_width = Some(SIDE_MAX);
        limits.max_image_height = Some(SIDE_MAX);
        limits.max_alloc = Some(DECODE_BYTES_MAX);
        reader.limits(limits);
        let mut picture = reader.decode().map_err(|error| unreadable(&error))?.to_rgb8();
        for (text, place) in captions {
            if let Some(text) = text {
                caption::draw(&mut picture, &text.to_uppercase(), place);
            }
        }
        let mut png = Vec::new();
        picture.write_to(&mut Cursor::new(&mut png), ImageFormat::Png).map_err(|error| unreadable(&error))?;
        Ok(png)
    }

    #[cfg(test)]
    mod tests {
        use image::{Rgb, RgbImage};

        use super::*;

        fn grey(width: u32, height: u32) -> Vec<u8> {
            let mut bytes = Vec::new();
            let image = RgbImage::from_pixel(width, height, Rgb([128, 128, 128]));
            image.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png).unwrap();
            bytes
        }

        fn white_in(picture: &RgbImage, rows: std::ops::Range<u32>) -> usize {
            let pixels = picture.enumerate_rows().filter(|(row, _)| rows.contains(row));
            pixels.flat_map(|(_, row)| row).filter(|(_, _, pixel)| pixel.0 == [255; 3]).count()
        }

        #[test]
        fn the_top_caption_is_at_the_top() {
            let meme = Meme { image: grey(300, 200), top: Some("Hi".to_owned()), bottom: None };
            let picture = image::load_from_memory(&handle(meme).unwrap()).unwrap().to_rgb8();
            assert_eq!(picture.dimensions(), (300, 200));
            assert!(white_in(&picture, 0..60) > 50);
            assert_eq!(white_in(&picture, 100..200), 0);
        }

        #[test]
        fn without_captions_nothing_is_drawn() {
            let meme = Meme { image: grey(30, 20), top: None, bottom: Some(String::new()) };
            let picture = image::load_from_memory(&handle(meme).unwrap()).unwrap().to_rgb8();
            assert!(picture.pixels().all(|pixel| pixel.0 == [128; 3]));
        }

        #[test]
        fn captions_fit_any_image() {
            for (width, height) in [(1, 1), (3, 400), (400, 3)] {
                let meme = Meme { image: grey(width, height), top: Some("W".repeat(200)), bottom: None };
                assert!(handle(meme).is_ok());
            }
        }

        #[test]
        fn bad_input_is_refused() {
            let meme = Meme { image: b"no image".to_vec(), top: None, bottom: None };
            assert!(matches!(handle(meme), Err(Error::UnreadableImage(_))));
            let meme = Meme { image: grey(9, 9), top: Some("x".repeat(201)), bottom: None };
            assert_eq!(handle(meme), Err(Error::CaptionTooLong(200)));
        }
    }
}
