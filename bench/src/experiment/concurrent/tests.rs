//! Tests of the callers and of a window's measures. The callers call a thing that takes a known
//! time.

use anyhow::ensure;

use super::*;
use crate::experiment::answer::Answer;
use crate::experiment::cell::tests::conditions;

const CALL: Duration = Duration::from_millis(20);

/// Answers after a while, and needs as long again to finish.
struct Sleeper {
    body: &'static [u8],
    afterwards: Duration,
}

impl Caller for Sleeper {
    fn call(&mut self) -> anyhow::Result<Answer> {
        thread::sleep(CALL);
        Ok(Answer { body: self.body.to_vec(), start: None, run: Duration::ZERO, is_cached: false })
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        thread::sleep(self.afterwards);
        Ok(())
    }
}

fn sleepers(bodies: &[&'static [u8]], afterwards: Duration) -> Vec<Box<dyn Caller>> {
    bodies.iter().map(|body| Box::new(Sleeper { body, afterwards }) as Box<dyn Caller>).collect()
}

/// A cell of `fibonacci-recursive` with two windows.
pub(crate) fn cell(arm: ArmKind, answers_per_s: f64) -> ConcurrentCell {
    let window = |answers_per_s| Window {
        answers: 50,
        answers_per_s,
        p50_us: 1_000.0,
        p95_us: 2_000.0,
        p99_us: 3_000.0,
        max_us: 4_000.0,
        cpu_us_per_call: 500.0,
        memory_bytes: Some(2_000_000),
    };
    ConcurrentCell {
        conditions: conditions(),
        arm,
        function: Function::FibonacciRecursive,
        size: SIZE,
        callers: 8,
        window_s: 0.5,
        rounds: 2,
        windows: vec![window(answers_per_s), window(answers_per_s)],
    }
}

fn is_right(body: &[u8]) -> anyhow::Result<()> {
    ensure!(body == b"right", "another answer");
    Ok(())
}

fn window(callers: Vec<CallerTimes>) -> Window {
    Window::of(Accounted { value: callers, cpu: Duration::from_millis(30), memory_bytes: None }).unwrap()
}

#[test]
fn callers_overlap_and_only_the_call_is_on_the_clock() {
    let until = Until { elapsed: Duration::from_millis(200), calls: 1 };
    let times = call_together(&mut sleepers(&[b"right".as_slice(); 8], CALL), until, &is_right).unwrap();
    let window = window(times);
    // A busy machine only adds time. Alone, a caller has at most 25 answers per second.
    assert!(window.answers_per_s > 50.0 && window.answers_per_s <= 8.0 * 25.0, "{window:?}");
    assert!((20_000.0..40_000.0).contains(&window.p50_us), "{window:?}");
}

#[test]
fn a_slow_call_is_made_once_and_completely() {
    let until = Until { elapsed: Duration::ZERO, calls: 1 };
    let times =
        call_together(&mut sleepers(&[b"right".as_slice(); 2], Duration::ZERO), until, &is_right).unwrap();
    assert_eq!(times.iter().map(|caller| caller.totals.len()).collect::<Vec<_>>(), [1, 1]);
    let shortest = CALL.as_nanos() as u64 * 999 / 1000;
    assert!(times.iter().all(|caller| caller.elapsed >= CALL && caller.totals.min() >= shortest));
}

#[test]
fn one_wrong_answer_ends_the_window() {
    let until = Until { elapsed: Duration::ZERO, calls: 1 };
    let mut callers = sleepers(&[b"right", b"wrong", b"right"].map(|body| &body[..]), Duration::ZERO);
    assert!(call_together(&mut callers, until, &is_right).is_err());
}

#[test]
fn percentiles_are_those_of_all_callers() {
    let times = |ms: &mut dyn Iterator<Item = u64>| {
        let mut totals = Histogram::new_with_max(LONGEST_NS, DIGITS).unwrap();
        ms.for_each(|ms| totals.record(ms * 1_000_000).unwrap());
        CallerTimes { totals, elapsed: Duration::from_secs(2) }
    };
    let window = window(vec![times(&mut (51..=100)), times(&mut (1..=50))]);
    assert_eq!((window.answers, window.answers_per_s, window.cpu_us_per_call), (100, 50.0, 300.0));
    let Window { p50_us, p95_us, p99_us, max_us, .. } = window;
    for (found, expected) in [(p50_us, 50_000.0), (p95_us, 95_000.0), (p99_us, 99_000.0), (max_us, 100_000.0)]
    {
        assert!((found / expected - 1.0).abs() < 0.001, "{window:?}");
    }
    assert!(Window::of(Accounted { value: Vec::new(), cpu: CALL, memory_bytes: None }).is_err());
}

#[test]
fn a_complete_cell_is_found_under_the_same_conditions_only() {
    let out = tempfile::tempdir().unwrap();
    std::fs::create_dir(out.path().join("raw")).unwrap();
    let written = cell(ArmKind::NebulaFresh, 9.0);
    let (arm, function) = (written.arm, written.function);
    cell::write(&path(out.path(), arm, function), &written).unwrap();
    let extent = Extent { functions: vec![function], rounds: 2, window: Duration::from_millis(500) };
    let conditions = conditions();
    let plan = Plan { extent: &extent, conditions: &conditions, callers: 8, out: out.path() };
    assert_eq!(plan.find(arm, function).unwrap().windows, written.windows);
    assert!(Plan { callers: 4, ..plan }.find(arm, function).is_none());
    assert!(plan.find(ArmKind::NativeCall, function).is_none());
    let longer = Extent { window: Duration::from_secs(1), ..extent.clone() };
    assert!(Plan { extent: &longer, ..plan }.find(arm, function).is_none());
}
