#!/usr/bin/env python3
"""What bench.py makes of times, without timing anything."""

import json
import unittest

import bench
import bench_peers
import bench_pictures


def row(impl, infer, train=None, group=bench.DEFAULT_GROUP):
    """A row of the comparison; lstm-core takes 2 and 8 ms."""
    found = {"impl": impl, "group": group, "shape": [1, 2, 3, 4], "infer_ms": infer, "infer_ratio": infer / 2}
    return found if train is None else {**found, "train_ms": train, "train_ratio": train / 8}


ABOUT = {"date": "today", "cpu": "CPU", "cores": 2, "burn": "0", "rounds": 1, "peers": {}, "skipped": {}}
ROWS = [row("lstm-core", 2, 8), row("torch", 4, 4), row("onnxruntime", 3)]


class Tables(unittest.TestCase):
    def test_inference_alone_leaves_the_other_cells_empty(self):
        last = bench.comparison_table(ROWS).splitlines()[-1]
        self.assertEqual(last, "| 1,2,3,4 | onnxruntime | 3.00 | × 1.50 |  |  |")
        last = bench.means_table(bench.geometric_means(ROWS)).splitlines()[-1]
        self.assertEqual(last, "| default (1) | onnxruntime | × 1.50 |  |")

    def test_the_page_has_a_column_for_what_was_timed(self):
        record = {"about": ABOUT, "comparison": ROWS, "geometric_means": bench.geometric_means(ROWS)}
        block = bench.full_block(record, "name", {}).splitlines()
        self.assertEqual(block[0], "| B,T,I,H | inference, ms | PyTorch | ONNX Runtime | forward + backward, ms | PyTorch |")
        self.assertEqual(block[2], "| 1,2,3,4 | 2.00 | × 2.00 | × 1.50 | 8.00 | × 0.50 |")
        self.assertEqual(block[3], "| geometric mean, default |  | × 2.00 | × 1.50 |  | × 0.50 |")

    def test_the_readme_has_a_row_for_each_layer_and_implementation(self):
        rows = [{**row, "shape": bench.sizes(shape)} for shape in bench.README_SHAPES for row in ROWS]
        forms = [{**row, "layer": layer} for layer in bench.FORMS for row in rows]
        block = bench.short_block({"about": ABOUT, "comparison": rows, "forms": forms}, "name").splitlines()
        self.assertEqual(block[0], "| forward + backward | by | 32,50,2,64 | 64,100,2,128 | 32,100,128,256 |")
        self.assertEqual(block[2], "| LSTM | lstm-core | 8.00 ms | 8.00 ms | 8.00 ms |")
        others = [f"| {layer} | PyTorch | × 0.50 | × 0.50 | × 0.50 |" for layer in ("LSTM", *bench.FORMS)]
        self.assertEqual(block[3:9], others)

    def test_the_pages_have_the_newest_record(self):
        newest = max((bench.ROOT / "assets").glob("bench-cpu-2*.json"))
        for path, text in bench.pages(json.loads(newest.read_text()), newest.stem).items():
            self.assertEqual(path.read_text(), text, f"python3 scripts/bench.py --from {newest.relative_to(bench.ROOT)}")

    def test_other_layers_have_a_row_for_each_shape(self):
        rows = [{**row, "layer": layer} for layer in ("GRU", "plain RNN") for row in ROWS]
        lines = bench.forms_text(rows)[2].splitlines()
        self.assertEqual(lines[2], "| GRU | 1,2,3,4 | 2.00 | × 2.00 | × 1.50 | 8.00 | × 0.50 |")
        self.assertEqual(len(lines), 4)

    def test_a_busy_machine_is_compared_with_one_thread(self):
        states = [{"median_ms": median, "p99_ms": 2 * median} for median in (4, 2, 8, 10)]
        own = [{"shape": "1,2,3,4", "mode": mode, "states": states} for _, mode in bench.MODES]
        lines = bench.busy_text({"own": own, "peers": ROWS[1:]})[2].splitlines()
        times = "4.00 (8.00) | 2.00 (4.00) | 8.00 (16.00) | 10.00 (20.00) | × 1.25 | × 1.25"
        self.assertEqual(lines[2], f"| 1,2,3,4 | inference | {times} | 4.00 | 3.00 |")
        self.assertEqual(lines[3], f"| 1,2,3,4 | forward + backward | {times} | 4.00 |  |")

    def test_means_are_geometric(self):
        rows = [*ROWS, row("lstm-core", 2, 8, "b"), row("torch", 16, 8, "b"), row("onnxruntime", 2, group="b")]
        means = {(mean["shapes"], mean["impl"]): mean for mean in bench.geometric_means(rows)}
        self.assertAlmostEqual(means["all", "torch"]["infer_ratio"], 4)
        self.assertAlmostEqual(means["b", "torch"]["train_ratio"], 1)
        self.assertNotIn("train_ratio", means["all", "onnxruntime"])

    def test_steps_are_a_row_for_each_call(self):
        def step(impl, call, h, us):
            return {"impl": impl, "call": call, "shape": [1, 1, h, h], "step_us": us, "step_ratio": us / 10}

        rows = [step(*bench.STEP_OWN, 64, 10), step("torch", "cell", 64, 20)]
        rows += [step(*bench.STEP_OWN, 128, 10), step("torch", "cell", 128, 80)]
        table = bench.steps_text(rows, None)[2].splitlines()
        self.assertEqual(table[0], "| implementation | call | H=64 | H=128 | × |")
        self.assertEqual(table[-1], "| PyTorch | cell | 20.0 | 80.0 | × 4.00 |")


class Peers(unittest.TestCase):
    def test_rows_are_as_long_as_in_the_program(self):
        self.assertEqual(bench_peers.lengths(4, 10), [10, 8, 5, 3])
        self.assertEqual(bench_peers.lengths(1, 7), [7])


class Pictures(unittest.TestCase):
    def test_names_are_moved_apart_around_their_middle(self):
        places = bench_pictures.spread([0, 0.1, 5], 1)
        for place, expected in zip(places, [-0.45, 0.55, 5]):
            self.assertAlmostEqual(place, expected)


if __name__ == "__main__":
    unittest.main()
