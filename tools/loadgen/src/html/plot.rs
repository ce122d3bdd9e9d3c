//! A line plot as inline SVG.
//!
//! Invariants: colours are those of the page; coordinates are finite, whatever the values.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::escaped;
use crate::latency::readable;

/// Size of the drawing, and what its axes take of it.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 22.0;

/// Lines of the grid, about.
const TICKS: f64 = 5.0;

/// How values are laid out and named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero on.
    Linear,
    /// Microseconds, by powers of ten; zeros are left out.
    Latency,
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    /// What the legend says; empty: nothing.
    pub(super) name: &'a str,
    /// Seconds and value.
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot over time.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    /// What stands above it.
    pub(super) title: Cow<'a, str>,
    /// How its values are laid out.
    pub(super) scale: Scale,
    /// Four at most have colours of their own.
    pub(super) lines: Vec<Line<'a>>,
}

/// From values to the drawing.
#[derive(Clone, Copy, Debug)]
struct Axes {
    scale: Scale,
    seconds: f64,
    low: f64,
    high: f64,
}

impl Plot<'_> {
    /// The plot with its title; `marks` are times that have a name.
    pub(super) fn figure(&self, marks: &[(f64, &str)]) -> String {
        let mut figure = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut figure, marks);
        figure
    }

    fn write(&self, to: &mut String, marks: &[(f64, &str)]) -> std::fmt::Result {
        let axes = self.axes();
        write!(
            to,
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">",
            escaped(&self.title)
        )?;
        for value in axes.ticks() {
            let y = axes.y(value);
            write!(
                to,
                "<path d=\"M{LEFT} {y:.1}H{:.1}\" stroke=\"var(--grid)\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                axes.label(value)
            )?;
        }
        for (at, name) in marks {
            let x = axes.x(*at);
            write!(
                to,
                "<path d=\"M{x:.1} {TOP}V{:.1}\" stroke=\"var(--grid)\" stroke-dasharray=\"3 3\">\
                 <title>{}</title></path>",
                HEIGHT - BOTTOM,
                escaped(name)
            )?;
        }
        for (anchor, at) in [("start", 0.0), ("middle", axes.seconds / 2.0), ("end", axes.seconds)] {
            let (x, y) = (axes.x(at), HEIGHT - 6.0);
            write!(to, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{at:.0} s</text>")?;
        }
        for (number, line) in self.lines.iter().enumerate() {
            self.write_line(to, number, line, axes)?;
        }
        write!(to, "</svg></figure>")
    }

    fn write_line(&self, to: &mut String, number: usize, line: &Line<'_>, axes: Axes) -> std::fmt::Result {
        let colour = format!("var(--c{})", number % 4);
        let shown = line.points.iter().filter(|(_, value)| axes.shows(*value));
        let path: Vec<_> =
            shown.map(|(at, value)| format!("{:.1} {:.1}", axes.x(*at), axes.y(*value))).collect();
        if !path.is_empty() {
            let joined = path.join("L");
            // A single point is drawn as a dot: a line of no length with round ends.
            write!(
                to,
                "<path d=\"M{joined}{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" stroke-linecap=\"round\"/>",
                if path.len() == 1 { "h0" } else { "" }
            )?;
        }
        if line.name.is_empty() {
            return Ok(());
        }
        let x = LEFT + 110.0 * number as f64;
        write!(
            to,
            "<path d=\"M{x:.0} 9h14\" stroke=\"{colour}\" stroke-width=\"2.5\"/><text x=\"{:.0}\" y=\"13\">{}</text>",
            x + 19.0,
            escaped(line.name)
        )
    }

    fn axes(&self) -> Axes {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let seconds = points().map(|(at, _)| *at).fold(1.0, f64::max);
        let values = || points().map(|(_, value)| *value).filter(|value| value.is_finite());
        let highest = values().fold(0.0, f64::max);
        match self.scale {
            Scale::Linear => {
                let step = step(highest.max(1e-9) / TICKS);
                Axes { scale: self.scale, seconds, low: 0.0, high: step * (highest.max(1e-9) / step).ceil() }
            }
            Scale::Latency => {
                let lowest =
                    values().filter(|value| *value > 0.0).fold(f64::MAX, f64::min).min(highest.max(1.0));
                let (low, high) = (lowest.log10().floor(), highest.max(1.0).log10().ceil());
                Axes { scale: self.scale, seconds, low, high: high.max(low + 1.0) }
            }
        }
    }
}

impl Axes {
    fn shows(&self, value: f64) -> bool {
        value.is_finite() && (self.scale == Scale::Linear || value > 0.0)
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (at / self.seconds).clamp(0.0, 1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let value = if self.scale == Scale::Latency { value.log10() } else { value };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high / TICKS);
                (0..=(self.high / step).round() as u32).map(|number| f64::from(number) * step).collect()
            }
            Scale::Latency => (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power)).collect(),
        }
    }

    fn label(&self, value: f64) -> String {
        match self.scale {
            Scale::Latency => readable(value),
            Scale::Linear => short(value),
        }
    }
}

/// The next of 1, 2, 5, 10, 20, ... that is not below `least`.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    factor.unwrap_or(10.0) * power
}

/// A value in few characters: `1.2M`.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        large if large >= 1e9 => (value / 1e9, "G"),
        large if large >= 1e6 => (value / 1e6, "M"),
        large if large >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = if scaled.fract().abs() < 1e-9 {
        0
    } else if scaled.abs() < 0.1 {
        3
    } else {
        1
    };
    format!("{scaled:.digits$}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(scale: Scale, points: &[(f64, f64)]) -> String {
        let lines = vec![Line { name: "a<b", points: points.to_vec() }];
        Plot { title: "t & u".into(), scale, lines }.figure(&[(1.0, "running")])
    }

    #[test]
    fn any_values_make_a_drawing() {
        for scale in [Scale::Linear, Scale::Latency] {
            for points in [
                &[][..],
                &[(0.0, 0.0)],
                &[(1.0, 5.0)],
                &[(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 2.0)],
                &[(0.0, 1e12), (9.0, 1e-6)],
            ] {
                let figure = figure(scale, points);
                assert!(figure.starts_with("<figure>") && figure.ends_with("</figure>"));
                assert!(figure.contains("t &amp; u") && figure.contains("a&lt;b"));
                assert!(!figure.contains("NaN") && !figure.contains("inf"), "{figure}");
            }
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        for (least, expected) in [(0.2, 0.2), (0.21, 0.5), (3.0, 5.0), (7.0, 10.0), (20_000.0, 20_000.0)] {
            assert!((step(least) / expected - 1.0).abs() < 1e-9, "{least}: {}", step(least));
        }
        for (value, text) in [(0.0, "0"), (0.05, "0.050"), (1.5, "1.5"), (20_000.0, "20k"), (1.25e6, "1.2M")]
        {
            assert_eq!(short(value), text);
        }
    }
}
