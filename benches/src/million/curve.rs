//! The cost of a connection from a thousand to a million of them: one run of the load for each number, a table, and a plot.

use std::fmt::Write as _;
use std::io;

use serde::{Deserialize, Serialize};

use super::load::{self, Measured};
use super::report::Figures;
use super::stand::Load;
use crate::limits;
use crate::run::machine::Machine;
use crate::run::plan::Backend;
use crate::run::serving::Programs;

/// Numbers of connections, as far as they are wanted.
const STEPS: [u32; 7] = [1_000, 10_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A whole curve.
#[derive(Debug, Serialize, Deserialize)]
pub struct Curve {
    /// Its name: date and title.
    pub name: String,
    /// Of both ends.
    pub backend: Backend,
    /// From the fewest connections to the most.
    pub points: Vec<Point>,
}

/// What so many connections cost.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Point {
    /// Connections held.
    pub connections: u64,
    /// Failures of any kind.
    pub failed: u64,
    /// Resident memory of the server before the first of them, bytes.
    pub fixed_bytes: u64,
    /// Its growth until all were held, bytes for each.
    pub process_bytes: f64,
    /// Growth of the kernel's memory, bytes for each end.
    pub kernel_bytes: f64,
    /// Cores of the server while only pings are exchanged.
    pub idle_cores: f64,
    /// Everything that was measured.
    pub raw: serde_json::Value,
}

/// Goes through the steps up to the connections of `load`, each with a server of its own.
pub fn run(
    programs: &Programs,
    name: String,
    load: &Load,
    shards: &dyn Fn(u32) -> u32,
    say: &mut dyn FnMut(&str),
) -> io::Result<Curve> {
    let mut points = Vec::new();
    for connections in STEPS.into_iter().filter(|step| *step <= load.connections) {
        say(&format!("{connections} connections"));
        let step = Load {
            connections,
            channels: (connections / (load.connections / load.channels).max(1)).max(1),
            hold_s: limits::CURVE_HOLD_S,
            publish_s: 1,
            shards: shards(connections),
            ..load.clone()
        };
        let measured = load::run(programs, &step, false, say)?;
        points.push(Point::of(&measured)?);
    }
    Ok(Curve { name, backend: load.backend, points })
}

impl Point {
    fn of(measured: &Measured) -> io::Result<Self> {
        let figures = Figures::of(measured);
        let before = measured.before.process_bytes;
        let grown = measured.held.process_bytes.saturating_sub(before);
        Ok(Self {
            connections: figures.connections,
            failed: figures.failed,
            fixed_bytes: before,
            process_bytes: grown as f64 / figures.connections.max(1) as f64,
            kernel_bytes: figures.kernel_bytes,
            idle_cores: figures.idle_cores,
            raw: serde_json::to_value(measured)?,
        })
    }

    /// Microseconds of processor time a second for each connection.
    fn idle_us(&self) -> f64 {
        self.idle_cores * 1e6 / self.connections.max(1) as f64
    }
}

impl Curve {
    /// Failures of any kind at any step.
    pub fn failed(&self) -> u64 {
        self.points.iter().map(|point| point.failed).sum()
    }

    /// The table, with the plot of the run kept under `runs` relative to where the text stands.
    pub fn section(&self, machine: &Machine, plot: &str) -> String {
        let mut text = format!(
            "Run `{}`.\n\n{machine} Back end {}; each connection is a user with a channel that a hundred share, and is pinged every \
             25 s.\n\n\
             | connections | fixed, MiB | process bytes each | kernel bytes each | cores, only pings | µs a second each | failed |\n\
             |---:|---:|---:|---:|---:|---:|---:|\n",
            self.name, self.backend,
        );
        for point in &self.points {
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.0} | {:.0} | {:.3} | {:.2} | {} |",
                point.connections,
                point.fixed_bytes as f64 / f64::from(1 << 20),
                point.process_bytes,
                point.kernel_bytes,
                point.idle_cores,
                point.idle_us(),
                point.failed,
            );
        }
        let _ =
            writeln!(text, "\n![Process bytes and processor time of a connection by their number]({plot})");
        text
    }

    /// Both costs of a connection by the number of connections, as SVG.
    pub fn plot(&self) -> String {
        const WIDTH: f64 = 720.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} 520\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"520\" fill=\"white\"/>\n"
        );
        self.panel(&mut svg, 30.0, "process bytes of a connection", &|point| point.process_bytes);
        self.panel(&mut svg, 280.0, "processor time of an idle connection, µs a second", &Point::idle_us);
        svg.push_str("</svg>\n");
        svg
    }

    /// One line over a logarithmic axis of connections.
    fn panel(&self, svg: &mut String, top: f64, title: &str, value: &dyn Fn(&Point) -> f64) {
        const LEFT: f64 = 60.0;
        const RIGHT: f64 = 690.0;
        const HEIGHT: f64 = 180.0;
        let most = self.points.iter().map(value).fold(0.0, f64::max).max(1e-9);
        let bottom = top + HEIGHT;
        let x = |connections: u64| {
            LEFT + 20.0 + ((connections.max(1) as f64).log10() - 3.0) / 3.0 * (RIGHT - LEFT - 40.0)
        };
        let y = |value: f64| bottom - value / most * (HEIGHT - 30.0);
        let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.0}\" font-size=\"14\">{title}</text>", top - 8.0);
        let _ = writeln!(svg, "<path d=\"M{LEFT} {top} V{bottom} H{RIGHT}\" fill=\"none\" stroke=\"#888\"/>");
        let mut line = String::new();
        for point in &self.points {
            let (x, y) = (x(point.connections), y(value(point)));
            let _ = write!(line, "{x:.1},{y:.1} ");
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#0b62a4\"/>");
            let digits = if most < 20.0 { 2 } else { 0 };
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.digits$}</text>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}k</text>",
                y - 8.0,
                value(point),
                bottom + 16.0,
                point.connections / 1_000,
            );
        }
        let line = line.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{line}\" fill=\"none\" stroke=\"#0b62a4\" stroke-width=\"2\"/>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_every_point_twice_within_its_frame() {
        let point = |connections, process_bytes| Point {
            connections,
            failed: 0,
            fixed_bytes: 1 << 20,
            process_bytes,
            kernel_bytes: 4_000.0,
            idle_cores: connections as f64 * 4e-7,
            raw: serde_json::Value::Null,
        };
        let points = vec![point(1_000, 900.0), point(1_000_000, 400.0)];
        let curve = Curve { name: "2026-01-01-curve".to_owned(), backend: Backend::IoUring, points };
        let plot = curve.plot();
        assert_eq!(plot.matches("<circle").count(), 4);
        assert!(plot.contains("points=\"80.0,60.0 670.0,"), "{plot}");
        assert!((curve.points[0].idle_us() - 0.4).abs() < 1e-9);
    }
}
