//! Heat maps: a table of coloured cells.

use crate::logarithm::log10;
use crate::results::html::markup::Markup;
use crate::results::unit::{Prefix, Unit, significant};

/// Cells over two parameters.
#[derive(Debug)]
pub(in crate::results::html) struct HeatMap<'a> {
    /// Which of several maps this is; may be empty.
    pub(in crate::results::html) title: String,
    pub(in crate::results::html) x_title: &'a str,
    pub(in crate::results::html) x: &'a [String],
    pub(in crate::results::html) y_title: &'a str,
    pub(in crate::results::html) y: &'a [String],
    /// Row by row, from the first value of `y`.
    pub(in crate::results::html) cells: Vec<Option<HeatCell>>,
}

/// A cell of which something ran.
#[derive(Clone, Debug)]
pub(in crate::results::html) struct HeatCell {
    /// Nothing if no run gave a value.
    pub(in crate::results::html) value: Option<f64>,
    /// Whether something failed there.
    pub(in crate::results::html) failed: bool,
    /// Number by which the script finds what to tell about it.
    pub(in crate::results::html) id: usize,
    /// What a reader without script gets to see.
    pub(in crate::results::html) tooltip: String,
}

/// What colour a value has, the same in all maps of one metric.
#[derive(Clone, Copy, Debug)]
pub(in crate::results::html) struct HeatScale {
    min: f64,
    max: f64,
    logarithmic: bool,
    unit: Unit,
}

impl HeatScale {
    /// For values between `min` and `max`. Where they span more than a factor of thirty, equal factors are equally
    /// different.
    pub(in crate::results::html) fn new(min: f64, max: f64, unit: Unit) -> Self {
        Self { min, max, logarithmic: min > 0.0 && max / min > 30.0, unit }
    }

    fn position(&self, value: f64) -> f64 {
        let position = if self.logarithmic {
            (log10(value) - log10(self.min)) / (log10(self.max) - log10(self.min))
        } else {
            (value - self.min) / (self.max - self.min)
        };
        if position.is_finite() { position.clamp(0.0, 1.0) } else { 0.5 }
    }

    /// The unit that the numbers in the cells are in; none if each cell needs its own prefix.
    fn shared_prefix(&self) -> Option<Prefix> {
        (!self.logarithmic).then(|| self.unit.prefix(self.max))
    }

    fn cell_text(&self, value: f64) -> String {
        let prefix = self.shared_prefix().unwrap_or_else(|| self.unit.prefix(value));
        let number = significant(value / prefix.one, 3);
        // One letter says the prefix where cells differ in it; that of times would be taken for minutes.
        if self.logarithmic && self.unit == Unit::Seconds {
            return format!("{number}\u{202f}{}", prefix.symbol);
        }
        match prefix.symbol.strip_suffix(self.unit.symbol()) {
            Some(letter) if self.logarithmic => format!("{number}\u{202f}{letter}").trim_end().to_owned(),
            _ => number,
        }
    }

    /// What the numbers in the cells mean; empty where they say it themselves.
    pub(in crate::results::html) fn caption(&self) -> &'static str {
        if self.logarithmic && self.unit == Unit::Seconds {
            return "";
        }
        self.shared_prefix().map_or(self.unit.symbol(), |prefix| prefix.symbol)
    }

    /// A bar with all colours and the values at its ends.
    pub(in crate::results::html) fn draw(&self) -> Markup {
        const STEPS: u32 = 40;
        let mut out = Markup::new();
        out.open("div", &[("class", "scale")]);
        out.element("span", &[], &self.unit.format(self.min, 3));
        out.open("svg", &[("viewBox", "0 0 160 12"), ("aria-hidden", "true")]);
        for step in 0..STEPS {
            let (x, colour) = ((step * 4).to_string(), colour(f64::from(step) / f64::from(STEPS - 1)));
            let fill = colour.hex();
            out.empty("rect", &[("x", &x), ("width", "4.2"), ("height", "12"), ("fill", &fill)]);
        }
        out.close();
        let kind = if self.logarithmic { " (logarithmic)" } else { "" };
        out.element("span", &[], &format!("{}{kind}", self.unit.format(self.max, 3)));
        out.close();
        out
    }
}

impl HeatMap<'_> {
    /// Draws the map with the colours of `scale`.
    pub(in crate::results::html) fn draw(&self, scale: &HeatScale) -> Markup {
        let mut out = Markup::new();
        out.open("figure", &[("class", "heat")]);
        if !self.title.is_empty() {
            out.element("figcaption", &[], &self.title);
        }
        out.open("table", &[]);
        out.open("tr", &[]);
        let corner = match self.y_title {
            "" => self.x_title.to_owned(),
            y_title => format!("{y_title} \\ {}", self.x_title),
        };
        out.element("th", &[("class", "corner")], &corner);
        for label in self.x {
            out.element("th", &[], label);
        }
        out.close();
        for (label, row) in self.y.iter().zip(self.cells.chunks(self.x.len().max(1))) {
            out.open("tr", &[]);
            out.element("th", &[("class", "row")], label);
            for cell in row {
                draw_cell(cell.as_ref(), scale, &mut out);
            }
            out.close();
        }
        out.close();
        out.close();
        out
    }
}

fn draw_cell(cell: Option<&HeatCell>, scale: &HeatScale, out: &mut Markup) {
    let Some(cell) = cell else {
        out.element("td", &[("class", "none"), ("title", "not run")], "");
        return;
    };
    let colour = cell.value.map(|value| colour(scale.position(value)));
    let fill = colour.map(|colour| format!("background:{}", colour.hex())).unwrap_or_default();
    let mut class = match colour {
        None => "none",
        Some(colour) if colour.is_dark() => "on-dark",
        Some(_) => "on-light",
    }
    .to_owned();
    if cell.failed {
        class.push_str(" failed");
    }
    let id = cell.id.to_string();
    let attributes =
        [("class", &*class), ("style", &fill), ("data-cell", &id), ("title", &cell.tooltip), ("tabindex", "0")];
    out.element("td", &attributes, &cell.value.map_or_else(|| "–".to_owned(), |value| scale.cell_text(value)));
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colour([u8; 3]);

impl Colour {
    fn hex(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }

    /// Whether white text is easier to read on it than black text.
    fn is_dark(self) -> bool {
        let [red, green, blue] = self.0.map(u32::from);
        // Weights of ITU-R BT.601, in thousandths. At this bound both have the same contrast.
        red * 299 + green * 587 + blue * 114 < 102_000
    }
}

/// From dark blue over teal to yellow: lightness rises all the way, so that it reads without colour vision too.
fn colour(position: f64) -> Colour {
    const STOPS: [[u8; 3]; 6] =
        [[37, 41, 88], [43, 78, 134], [33, 122, 146], [50, 162, 133], [143, 198, 93], [250, 225, 83]];
    let last = STOPS.len() - 1;
    let scaled = position.clamp(0.0, 1.0) * last as f64;
    let index = (scaled as usize).min(last - 1);
    let part = scaled - index as f64;
    let blend = |channel: usize| {
        let (from, to) = (f64::from(STOPS[index][channel]), f64::from(STOPS[index + 1][channel]));
        (from + (to - from) * part).round() as u8
    };
    Colour([blend(0), blend(1), blend(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lightness_rises_all_the_way() {
        let lightness = |step: u32| {
            let Colour(channels) = colour(f64::from(step) / 100.0);
            let [red, green, blue] = channels.map(u32::from);
            red * 299 + green * 587 + blue * 114
        };
        assert!((0..=100).map(lightness).is_sorted());
        assert!(colour(0.0).is_dark() && !colour(1.0).is_dark());
    }

    /// Contrast as the Web Content Accessibility Guidelines 2.1 define it, which ask for 4.5.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
    fn numbers_can_be_read_on_every_colour() {
        let linear = |part: u8| match f64::from(part) / 255.0 {
            part if part <= 0.03928 => part / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        };
        for step in 0..=1000 {
            let colour = colour(f64::from(step) / 1000.0);
            let [red, green, blue] = colour.0.map(linear);
            let luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            let contrast = if colour.is_dark() { 1.05 / (luminance + 0.05) } else { (luminance + 0.05) / 0.05 };
            assert!(contrast >= 4.5, "{contrast} at {step}");
        }
    }

    #[test]
    fn wide_ranges_are_logarithmic_with_a_prefix_in_each_cell() {
        let wide = HeatScale::new(1e6, 1e9, Unit::BitsPerSecond);
        assert!((wide.position(31_622_776.6) - 0.5).abs() < 1e-6);
        assert_eq!(wide.cell_text(31_622_776.6), "31.6\u{202f}M");
        assert_eq!(wide.caption(), "bit/s");
        let times = HeatScale::new(0.001, 1.0, Unit::Seconds);
        assert_eq!((times.cell_text(0.0278), times.caption()), ("27.8\u{202f}ms".to_owned(), ""));
        let narrow = HeatScale::new(1e8, 2e8, Unit::BitsPerSecond);
        assert_eq!((narrow.cell_text(1.5e8), narrow.caption()), ("150".to_owned(), "Mbit/s"));
        assert_eq!(HeatScale::new(5.0, 5.0, Unit::Plain).position(5.0), 0.5);
    }
}
