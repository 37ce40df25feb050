//! Captions: white letters with a black outline, wrapped into lines that fit the picture.

use ab_glyph::{Font, FontRef, Glyph, Point, PxScale, ScaleFont, point};
use image::{Rgb, RgbImage};

/// DejaVu Sans Condensed Bold, reduced to the letters of Latin scripts; see `font/LICENSE`.
const FONT: &[u8] = include_bytes!("../font/DejaVuSansCondensed-Bold-latin.ttf");

/// The position of a caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// From the upper edge downward.
    Top,
    /// From the lower edge upward.
    Bottom,
}

/// Draws `text` on `picture`.
pub fn draw(picture: &mut RgbImage, text: &str, place: Place) {
    // The font is embedded in this program, so parsing it succeeds.
    let Ok(font) = FontRef::try_from_slice(FONT) else { return };
    let (width, height) = (picture.width() as f32, picture.height() as f32);
    let mut size = (height / 8.0).min(width / 6.0).max(8.0);
    let mut lines = wrap(&font, text, size, width * 0.94);
    // Shrink a long caption until it takes a third of the picture or is too small to read.
    while lines.len() as f32 * size > height / 3.0 && size > 8.0 {
        size *= 0.85;
        lines = wrap(&font, text, size, width * 0.94);
    }
    let edge = (size / 14.0).max(1.0);
    let mut top = match place {
        Place::Top => size * 0.15,
        Place::Bottom => height - lines.len() as f32 * size - size * 0.25,
    };
    for line in &lines {
        let left = (width - line_width(&font, line, size)) / 2.0;
        let glyphs = position(&font, line, size, point(left, top));
        for (dx, dy) in [(-1, -1), (0, -1), (1, -1), (-1, 0), (1, 0), (-1, 1), (0, 1), (1, 1)] {
            let offset = point(dx as f32 * edge, dy as f32 * edge);
            paint(picture, &font, &glyphs, offset, Rgb([0, 0, 0]));
        }
        paint(picture, &font, &glyphs, point(0.0, 0.0), Rgb([255, 255, 255]));
        top += size;
    }
}

/// Wraps the words of `text` into lines at most `width` wide. A wider word gets its own line.
fn wrap(font: &FontRef<'_>, text: &str, size: f32, width: f32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line_width(font, &format!("{line} {word}"), size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn line_width(font: &FontRef<'_>, line: &str, size: f32) -> f32 {
    let font = font.as_scaled(PxScale::from(size));
    line.chars().map(|c| font.h_advance(font.glyph_id(c))).sum()
}

/// Returns the glyphs of a line whose upper left corner is `corner`.
fn position(font: &FontRef<'_>, line: &str, size: f32, corner: Point) -> Vec<Glyph> {
    let scale = PxScale::from(size);
    let font = font.as_scaled(scale);
    let mut x = corner.x;
    let mut glyphs = Vec::new();
    for c in line.chars() {
        let id = font.glyph_id(c);
        glyphs.push(id.with_scale_and_position(scale, point(x, corner.y + font.ascent())));
        x += font.h_advance(id);
    }
    glyphs
}

/// Paints glyphs at an offset from their positions. Pixels outside the picture are clipped.
fn paint(picture: &mut RgbImage, font: &FontRef<'_>, glyphs: &[Glyph], offset: Point, colour: Rgb<u8>) {
    for glyph in glyphs {
        let mut glyph = glyph.clone();
        glyph.position += offset;
        let Some(outline) = font.outline_glyph(glyph) else { continue };
        let bounds = outline.px_bounds();
        outline.draw(|x, y, coverage| {
            let (x, y) = (bounds.min.x + x as f32, bounds.min.y + y as f32);
            if x < 0.0 || y < 0.0 {
                return;
            }
            if let Some(pixel) = picture.get_pixel_mut_checked(x as u32, y as u32) {
                for (channel, target) in pixel.0.iter_mut().zip(colour.0) {
                    let from = f32::from(*channel);
                    *channel = (from + (f32::from(target) - from) * coverage.clamp(0.0, 1.0)).round() as u8;
                }
            }
        });
    }
}
