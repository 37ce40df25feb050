//! Tests of the files, and a cell for the tests of the report.

use super::*;

pub(crate) fn conditions() -> Conditions {
    Conditions {
        machine: "2 cores".to_owned(),
        cores: "one each".to_owned(),
        accounting: "cgroup".to_owned(),
        commit: Some("abc".to_owned()),
        optimised: true,
        nebula: "00ff".to_owned(),
        arms: vec![ArmKind::NativeCall, ArmKind::NebulaCold],
        samples: 2,
        warm_up_calls: 1,
    }
}

pub(crate) fn cell(arm: ArmKind, function: Function, size: Size, total_us: f64) -> Cell {
    let sample = |total_us| Sample {
        total_us,
        start_us: None,
        run_us: total_us / 4.0,
        cpu_us: total_us,
        memory_bytes: Some(1_000_000),
    };
    Cell {
        conditions: conditions(),
        arm,
        function,
        size,
        input_bytes: 2,
        output_bytes: 3,
        finished_at_unix_s: 1,
        samples: vec![sample(total_us), sample(total_us * 3.0)],
    }
}

#[test]
fn the_time_outside_the_function_is_that_of_the_platform() {
    let samples = cell(ArmKind::NativeCall, Function::NthPrime, Size::Small, 8.0).samples;
    let platform: Vec<f64> = samples.iter().map(Sample::platform_us).collect();
    assert_eq!(platform, [6.0, 18.0]);
}

#[test]
fn a_complete_cell_is_found_under_the_same_conditions_only() {
    let out = tempfile::tempdir().unwrap();
    std::fs::create_dir(out.path().join("raw")).unwrap();
    let cell = cell(ArmKind::NativeCall, Function::NthPrime, Size::Small, 5.0);
    cell.write(out.path()).unwrap();
    let find = |conditions: &Conditions, size| {
        Cell::find(out.path(), conditions, ArmKind::NativeCall, Function::NthPrime, size)
    };
    assert_eq!(find(&conditions(), Size::Small).unwrap().samples, cell.samples);
    assert!(find(&conditions(), Size::Large).is_none());
    assert!(find(&Conditions { samples: 3, ..conditions() }, Size::Small).is_none());
    assert!(find(&Conditions { arms: vec![ArmKind::NativeCall], ..conditions() }, Size::Small).is_none());
}
