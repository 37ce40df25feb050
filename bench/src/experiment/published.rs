//! Published figures of cloud platforms: cold and warm starts as others measured them.
//!
//! They are data with their sources, dates and conditions, and have a section of the report of their
//! own. Nothing here is compared with a measured row, because clocks, networks, machines and
//! functions differ.

use super::document::Block;
use super::dots::Unit;

/// A publication.
struct Source {
    /// Authors, title, where it appeared, when.
    reference: &'static str,
    url: &'static str,
    /// The date of the measurement and its conditions.
    conditions: &'static str,
}

/// The sources in the order in which the tables number them.
///
/// All figures were read in: the data files of Shilkov's site (`coldstart_all_bylanguage.json`, of
/// January 2021), the data files of lambda-perf (`data/2026-08-22.json`), the developer guide of AWS
/// Lambda, `SPECIFICATION.md` of Firecracker, a review that quotes Wang et al., and the abstract of
/// Schirmer et al.
const SOURCES: [Source; 6] = [
    Source {
        reference: "Mikhail Shilkov, Comparison of Cold Starts in Serverless Functions across AWS, Azure, and GCP, \
                    mikhail.io, January 2021",
        url: "https://mikhail.io/serverless/coldstarts/big3/",
        conditions: "Functions that only answer, called over HTTP at random intervals; the time that the client sees, \
                     less that of a warm call; Linux; Azure with the consumption plan. Measured until January 2021.",
    },
    Source {
        reference: "maxday, lambda-perf: Continuous Lambda Cold Starts Benchmark, 2026",
        url: "https://github.com/maxday/lambda-perf",
        conditions: "A function that only answers, from a ZIP file, 128 MB, x86-64; 10 cold starts each on 22 August \
                     2026. The platform's own `Init Duration`: the time to get a virtual machine and the code, and the \
                     network, are not in it.",
    },
    Source {
        reference: "Amazon Web Services, Understanding the Lambda execution environment lifecycle, AWS Lambda \
                    Developer Guide",
        url: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html",
        conditions: "A statement of the provider about its production workloads, without a date: cold starts are \
                     typically below 1 % of the calls.",
    },
    Source {
        reference: "Firecracker, Specification",
        url: "https://github.com/firecracker-microvm/firecracker/blob/main/SPECIFICATION.md",
        conditions: "The limit that the project tests: from the request to start a micro-VM to its first process, with \
                     one core, 128 MiB and a minimal kernel and root, on a free machine (`m5d.metal`). It is the part \
                     of a cold start of AWS Lambda that is the virtual machine.",
    },
    Source {
        reference: "Liang Wang et al., Peeking Behind the Curtains of Serverless Platforms, USENIX ATC 2018",
        url: "https://www.usenix.org/conference/atc18/presentation/wang-liang",
        conditions: "The time that a client sees for a warm call, over all calls of the study, which appeared in July \
                     2018; as a review of the paper quotes it.",
    },
    Source {
        reference: "Trever Schirmer et al., New Kids: An Architecture and Performance Investigation of \
                    Second-Generation Serverless Platforms, arXiv 2604.15916, April 2026",
        url: "https://arxiv.org/abs/2604.15916",
        conditions: "Small functions on seven platforms, more than 38 million calls; the time of a warm call. The first \
                     generation runs containers in regions, the second isolates at the edge.",
    },
];

/// A distribution of start times, in milliseconds.
struct Distribution {
    platform: &'static str,
    runtime: &'static str,
    median_ms: f64,
    low_ms: f64,
    high_ms: f64,
    /// The part of the measurements between the two, in per cent.
    between: u8,
    /// The index in [`SOURCES`].
    source: usize,
}

const fn cold(
    platform: &'static str,
    runtime: &'static str,
    [low_ms, median_ms, high_ms]: [f64; 3],
    between: u8,
    source: usize,
) -> Distribution {
    Distribution { platform, runtime, median_ms, low_ms, high_ms, between, source }
}

/// Cold starts.
const COLD: [Distribution; 15] = [
    cold("AWS Lambda", "JavaScript", [195.0, 264.0, 595.0], 95, 0),
    cold("AWS Lambda", "Python", [148.0, 215.0, 530.0], 95, 0),
    cold("AWS Lambda", "Go", [191.0, 307.0, 661.0], 95, 0),
    cold("Google Cloud Functions", "JavaScript", [462.0, 665.0, 1494.0], 95, 0),
    cold("Google Cloud Functions", "Python", [908.0, 1106.0, 1762.0], 95, 0),
    cold("Google Cloud Functions", "Go", [487.0, 589.0, 1290.0], 95, 0),
    cold("Azure Functions", "JavaScript", [268.0, 1575.0, 4340.0], 95, 0),
    cold("Azure Functions", "C#", [74.0, 932.0, 4750.0], 95, 0),
    cold("Azure Functions", "Python", [50.0, 1281.0, 3902.0], 95, 0),
    cold("AWS Lambda, init only", "Node.js 22", [111.9, 137.8, 155.2], 100, 1),
    cold("AWS Lambda, init only", "Python 3.13", [81.2, 86.3, 103.3], 100, 1),
    cold("AWS Lambda, init only", "Java 21", [227.3, 243.4, 259.8], 100, 1),
    cold("AWS Lambda, init only", ".NET 8", [212.7, 244.9, 311.6], 100, 1),
    cold("AWS Lambda, init only", "Go", [46.0, 49.4, 51.1], 100, 1),
    cold("AWS Lambda, init only", "Rust", [13.9, 15.7, 16.3], 100, 1),
];

/// A figure without a distribution.
struct Statement {
    platform: &'static str,
    what: &'static str,
    value: &'static str,
    /// The index in [`SOURCES`].
    source: usize,
}

const fn says(platform: &'static str, what: &'static str, value: &'static str, source: usize) -> Statement {
    Statement { platform, what, value, source }
}

const STATEMENTS: [Statement; 10] = [
    says("AWS Lambda", "cold start", "under 100 ms to over 1 s", 2),
    says("Firecracker", "start of a micro-VM", "at most 125 ms", 3),
    says("AWS Lambda", "warm call, median", "25 ms", 4),
    says("Google Cloud Functions", "warm call, median", "79 ms", 4),
    says("Azure Functions", "warm call, median", "320 ms", 4),
    says("first generation: containers", "warm call", "about 40 ms", 5),
    says("second generation: isolates", "warm call", "about 10 ms", 5),
    says("AWS Lambda", "an idle instance is kept", "5 to 7 min", 0),
    says("Google Cloud Functions", "an idle instance is kept", "15 min", 0),
    says("Azure Functions", "an idle instance is kept", "mostly 20 to 30 min", 0),
];

/// The section of the report.
pub(crate) fn blocks() -> Vec<Block> {
    let time = |ms: f64| Unit::Time.precise(ms * 1e3);
    let number = |source: usize| format!("[{}]", source + 1);
    let distribution = |found: &Distribution| {
        let between = match found.between {
            100 => "all".to_owned(),
            percent => format!("{percent} %"),
        };
        vec![
            found.platform.to_owned(),
            found.runtime.to_owned(),
            time(found.median_ms),
            format!("{} to {} ({between})", time(found.low_ms), time(found.high_ms)),
            number(found.source),
        ]
    };
    let statement = |found: &Statement| {
        vec![found.platform.to_owned(), found.what.to_owned(), found.value.to_owned(), number(found.source)]
    };
    let source = |(index, source): (usize, &Source)| {
        format!("{} {}. {} {}", number(index), source.reference, source.conditions, source.url)
    };
    let heads = |heads: &[&str]| heads.iter().map(|head| (*head).to_owned()).collect();
    vec![
        Block::Heading("Published figures of cloud platforms".to_owned()),
        Block::Text(
            "Others measured these, at other times, elsewhere and with other clocks. They show the orders of \
             magnitude of platforms that can't run here, and are not to be put beside a measured row: a network, \
             a gateway, a scheduler and a language's runtime are in most of them."
                .to_owned(),
        ),
        Block::Table {
            heads: heads(&["platform, cold start", "runtime", "median", "range", "source"]),
            rows: COLD.iter().map(distribution).collect(),
        },
        Block::Table {
            heads: heads(&["platform", "quantity", "published", "source"]),
            rows: STATEMENTS.iter().map(statement).collect(),
        },
        Block::Items(SOURCES.iter().enumerate().map(source).collect()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_source_with_a_date_and_an_address() {
        let cited: Vec<usize> = COLD
            .iter()
            .map(|found| found.source)
            .chain(STATEMENTS.iter().map(|found| found.source))
            .collect();
        assert!(cited.iter().all(|source| *source < SOURCES.len()));
        for (index, source) in SOURCES.iter().enumerate() {
            assert!(cited.contains(&index), "no figure cites {}", source.reference);
            assert!(source.url.starts_with("https://"), "{}", source.reference);
            let dated = [source.reference, source.conditions].concat();
            assert!(dated.contains("20") || dated.contains("date") || dated.contains("tests"), "{dated}");
        }
    }

    #[test]
    fn a_median_is_within_its_range() {
        for Distribution { platform, runtime, median_ms, low_ms, high_ms, between, .. } in COLD {
            assert!(low_ms < median_ms && median_ms < high_ms && between <= 100, "{platform} {runtime}");
        }
    }

    #[test]
    fn rows_name_their_source() {
        let Block::Table { rows, .. } = &blocks()[2] else { panic!() };
        assert_eq!(rows[0], ["AWS Lambda", "JavaScript", "264 ms", "195 ms to 595 ms (95 %)", "[1]"]);
        let Block::Items(items) = &blocks()[4] else { panic!() };
        assert!(items[0].starts_with("[1] Mikhail Shilkov") && items.len() == SOURCES.len());
    }
}
