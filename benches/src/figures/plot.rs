//! Bar charts as SVG, written by hand: each bar is a rectangle with a label.

use std::fmt;

/// Height of a bar with the gap below, in user units of the SVG, as all lengths here.
const STEP: usize = 22;
/// Height of a bar.
const BAR: usize = 16;
/// The left end of the bars.
const LEFT: usize = 260;
/// Length of the longest bar.
const LONGEST: f64 = 360.0;
/// Room for the title.
const TOP: usize = 34;

/// A chart with horizontal bars.
#[derive(Debug)]
pub(crate) struct Plot {
    /// The file name, without `.svg`.
    pub(crate) name: &'static str,
    title: String,
    bars: Vec<(String, f64)>,
}

impl Plot {
    /// Returns a chart without bars.
    pub(crate) fn new(name: &'static str, title: impl Into<String>) -> Self {
        Self { name, title: title.into(), bars: Vec::new() }
    }

    /// Adds a bar. A label that ends in "ours" gets another colour.
    pub(crate) fn bar(&mut self, label: impl Into<String>, value: f64) {
        self.bars.push((label.into(), value));
    }
}

impl fmt::Display for Plot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let height = TOP + self.bars.len() * STEP + 8;
        let largest = self.bars.iter().map(|bar| bar.1).fold(f64::MIN_POSITIVE, f64::max);
        writeln!(f, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {height}" font-family="sans-serif">"#)?;
        writeln!(f, r##"<g font-size="13" fill="#777">"##)?;
        writeln!(f, r#"<text x="10" y="20" font-size="15" font-weight="bold">{}</text>"#, self.title)?;
        for (number, (label, value)) in self.bars.iter().enumerate() {
            let (y, width) = (TOP + number * STEP, (value / largest).max(0.0) * LONGEST);
            let (base, colour) = (y + BAR - 3, if label.ends_with("ours") { "#d9622b" } else { "#6f93b5" });
            writeln!(f, r#"<text x="{}" y="{base}" text-anchor="end">{label}</text>"#, LEFT - 8)?;
            writeln!(f, r#"<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{BAR}" fill="{colour}"/>"#)?;
            writeln!(f, r#"<text x="{:.1}" y="{base}">{}</text>"#, LEFT as f64 + width + 6.0, figure(*value))?;
        }
        writeln!(f, "</g>\n</svg>")
    }
}

/// Returns the text of a value: with two decimals below 100, as an integer above.
fn figure(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}
