//! The section of the report about energy that the machine measured, or the reason why it didn't.

use crate::experiment::batch::{ArmBatch, Batch, MeasuredEnergy};
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;

/// The batches of all arms.
pub(super) fn blocks(energy: &Result<MeasuredEnergy, String>) -> Vec<Block> {
    let heading = Block::Heading("Energy by the counters of the machine".to_owned());
    let MeasuredEnergy { idle_w, has_memory, batches } = match energy {
        Ok(energy) => energy,
        Err(reason) => {
            let text = format!(
                "This machine doesn't measure energy: {reason}. Every energy in this report is modelled."
            );
            return vec![heading, Block::Text(text)];
        }
    };
    let memory = if *has_memory { "processors and memory" } else { "processors; memory has no counter here" };
    vec![
        heading,
        Block::Text(format!(
            "Measured by RAPL, over batches of calls of `fibonacci-recursive` with the small input: {memory}. The \
             counters are of the whole machine, this harness included. It drew {idle_w:.2} W when nothing of the \
             experiment ran; that power for the time of a batch is the idle share. What remains is shared by the \
             calls of the batch: it is an average, and no call was measured. The last column is the model for the \
             same calls."
        )),
        Block::Table {
            heads: [
                "arm",
                "calls",
                "time of the batch",
                "measured",
                "idle share",
                "measured without it",
                "per call",
                "per call, modelled",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: batches.iter().map(row).collect(),
        },
    ]
}

fn row(ArmBatch { arm, batch }: &ArmBatch) -> Vec<String> {
    let Batch { calls, time_s, joules, idle_joules, modelled_joules } = *batch;
    let per_call = |joules: f64| signed(joules / f64::from(calls.max(1)));
    vec![
        format!("`{}`", arm.name()),
        calls.to_string(),
        Unit::Time.precise(time_s * 1e6),
        signed(joules),
        signed(idle_joules),
        signed(batch.active_joules()),
        per_call(batch.active_joules()),
        per_call(modelled_joules),
    ]
}

/// Formats energy that may be below 0.
fn signed(joules: f64) -> String {
    let sign = if joules < 0.0 { "-" } else { "" };
    format!("{sign}{}", Unit::Energy.precise(joules.abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::arms::ArmKind;

    #[test]
    fn a_row_has_the_idle_share_apart() {
        let batch = Batch { calls: 10, time_s: 3.0, joules: 40.0, idle_joules: 30.0, modelled_joules: 5.0 };
        let row = row(&ArmBatch { arm: ArmKind::NativeCall, batch });
        assert_eq!(row, ["`native-call`", "10", "3.00 s", "40.0 J", "30.0 J", "10.0 J", "1.00 J", "500 mJ"]);
        assert_eq!(signed(-0.002), "-2.00 mJ");
    }

    #[test]
    fn without_counters_there_is_the_reason_and_no_figure() {
        let blocks = blocks(&Err("cannot read `/sys/class/powercap`".to_owned()));
        let Block::Text(text) = &blocks[1] else { panic!() };
        assert!(text.contains("`/sys/class/powercap`") && text.contains("modelled") && blocks.len() == 2);
    }
}
