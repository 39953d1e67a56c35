"""Writes wild/onnx/: small ONNX models with a recurrent layer in each way that weights are found in models.

Beside them is expected.safetensors with {model}/x [B,T,I], and y [B,T,D·H] as ONNX Runtime computes it (float32), or
ONNX' reference implementation where the runtime doesn't run the layout.

Install: pip install torch==2.15.0 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2 numpy safetensors
Run:     python wild_onnx.py     (writes beside this file)
"""

import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file

FOLDER = pathlib.Path(__file__).parent / "wild" / "onnx"
B, STEPS, I, H = 2, 5, 3, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
expected = {}


class Case:
    """A recurrent node with weights of its own; `how` puts these into the model."""

    def __init__(self, name, operator="LSTM", directions=1, inputs=I, bias=True, peepholes=False, **attributes):
        self.rng = np.random.default_rng(sum(name.encode()))
        self.name, self.operator, self.inputs = name, operator, inputs
        width = GATES[operator] * H
        shapes = {"W": (directions, width, inputs), "R": (directions, width, H)}
        if bias:
            shapes["B"] = (directions, 2 * width)
        if peepholes:
            shapes["P"] = (directions, 3 * H)
        self.weights = {key: (0.6 * self.rng.standard_normal(shape)).astype(np.float32) for key, shape in shapes.items()}
        self.attributes = dict(hidden_size=H, **attributes)
        if directions == 2:
            self.attributes["direction"] = "bidirectional"
        self.directions = directions

    def node(self, names=None, x="x", y="Y", prefix="", name="layer"):
        names = names or {key: prefix + key for key in self.weights}
        inputs = [x, names["W"], names["R"], names.get("B", ""), "", "", "", names.get("P", "")]
        while not inputs[-1]:
            inputs.pop()
        return h.make_node(self.operator, inputs, [y], name=name, **self.attributes)

    def x(self):
        return self.rng.standard_normal((B, STEPS, self.inputs)).astype(np.float32)


def info(name, kind=T.FLOAT, shape=None):
    return h.make_tensor_value_info(name, kind, shape)


def model(nodes, tensors=(), sparse=(), opset=17, ir=8, functions=(), kind=T.FLOAT, inputs=(), output="Y"):
    graph = h.make_graph(nodes, "graph", [info("x", kind, [None, None, None]), *inputs], [info(output, kind)],
                         list(tensors), sparse_initializer=list(sparse))
    domains = sorted({f.domain for f in functions})
    return h.make_model(graph, ir_version=ir, functions=list(functions),
                        opset_imports=[h.make_opsetid("", opset)] + [h.make_opsetid(d, 1) for d in domains])


def raw(case, prefix=""):
    return [numpy_helper.from_array(value, prefix + key) for key, value in case.weights.items()]


def write(case, made, reference=False, layout=0, feeds=None, save=None):
    path = FOLDER / f"{case.name}.onnx"
    if save:
        save(made, path)
    else:
        path.write_bytes(made.SerializeToString())
    x = case.x()
    given = {"x": x if layout else x.transpose(1, 0, 2), **(feeds or {})}
    kind = made.graph.input[0].type.tensor_type.elem_type
    given["x"] = np.ascontiguousarray(given["x"], h.tensor_dtype_to_np_dtype(kind))
    if reference:
        (y,) = ReferenceEvaluator(str(path)).run(None, given)
    else:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        (y,) = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]).run(None, given)
    y = np.asarray(y, np.float32)
    if y.ndim == 4:
        y = y.reshape(B, STEPS, -1) if layout else y.transpose(2, 0, 1, 3).reshape(B, STEPS, -1)
    elif not layout:
        y = y.transpose(1, 0, 2)
    expected[f"{case.name}/x"], expected[f"{case.name}/y"] = x, np.ascontiguousarray(y)


def plain(name, *args, opset=17, ir=8, **options):
    case, layout = Case(name, *args, **options), options.get("layout", 0)
    # ONNX Runtime refuses layout 1.
    write(case, model([case.node()], raw(case), opset=opset, ir=ir), layout == 1, layout)


def const(name, **value):
    return h.make_node("Constant", [], [name], **value)


def attributes():
    """What nodes say."""
    for operator in GATES:
        plain(f"{operator.lower()}", operator)
        plain(f"{operator.lower()}_both", operator, 2)
        plain(f"{operator.lower()}_reverse", operator, direction="reverse")
        plain(f"{operator.lower()}_no_bias", operator, bias=False)
        plain(f"{operator.lower()}_clip", operator, clip=0.3)
    plain("gru_after", "GRU", linear_before_reset=1)
    plain("gru_after_both", "GRU", 2, linear_before_reset=1)
    plain("peephole", peepholes=True)
    plain("peephole_both", "LSTM", 2, peepholes=True)
    plain("coupled", input_forget=1)
    plain("coupled_both", "LSTM", 2, input_forget=1)
    plain("coupled_peephole", peepholes=True, input_forget=1)
    plain("activations", activations=["HardSigmoid", "Softsign", "ScaledTanh"], activation_alpha=[0.3, 1.7],
          activation_beta=[0.4, 0.6])
    plain("activations_default", activations=["HardSigmoid", "LeakyRelu", "Elu"])
    plain("activations_both", "GRU", 2, activations=["HardSigmoid", "Tanh", "Sigmoid", "Elu"], activation_alpha=[0.3, 0.7],
          activation_beta=[0.4])
    plain("activations_rnn_both", "RNN", 2, activations=["Relu", "Affine"], activation_alpha=[0.5], activation_beta=[0.1])
    plain("activations_rnn_default", "RNN", activations=["Tanh", "Tanh"])
    plain("softplus", "RNN", activations=["Softplus"])
    plain("thresholded", "RNN", activations=["ThresholdedRelu"], activation_alpha=[0.2])
    plain("layout", layout=1)
    plain("opset_7", opset=7, ir=3)
    plain("opset_22", opset=22, ir=10)


def storage():
    """Where weights are."""
    case = Case("typed")
    typed = [h.make_tensor(key, T.FLOAT, value.shape, value.ravel()) for key, value in case.weights.items()]
    write(case, model([case.node()], typed))

    case = Case("double")
    doubles = [h.make_tensor(key, T.DOUBLE, value.shape, value.ravel().astype(np.float64)) for key, value in case.weights.items()]
    casts = [h.make_node("Cast", [key], [f"{key}_cast"], to=T.FLOAT) for key in case.weights]
    names = {key: f"{key}_cast" for key in case.weights}
    write(case, model(casts + [case.node(names)], doubles))
    for name, kind, as_raw in [("half", T.FLOAT16, True), ("half_typed", T.FLOAT16, False),
                               ("brain", T.BFLOAT16, True), ("brain_typed", T.BFLOAT16, False)]:
        case = Case(name)
        dtype = h.tensor_dtype_to_np_dtype(kind)
        if as_raw:
            tensors = [numpy_helper.from_array(value.astype(dtype), key) for key, value in case.weights.items()]
        else:
            tensors = [h.make_tensor(key, kind, value.shape, value.ravel()) for key, value in case.weights.items()]
        write(case, model(casts + [case.node(names)], tensors))

    case = Case("constants")
    nodes = [const(key, value=numpy_helper.from_array(value, "")) for key, value in case.weights.items()]
    write(case, model(nodes + [case.node()]))

    case = Case("constant_floats")
    nodes = []
    for key, value in case.weights.items():
        nodes += [const(f"{key}_flat", value_floats=[float(v) for v in value.ravel()]),
                  const(f"{key}_shape", value_ints=list(value.shape)),
                  h.make_node("Reshape", [f"{key}_flat", f"{key}_shape"], [key])]
    write(case, model(nodes + [case.node()]))

    case = Case("sparse")
    tensors, sparse = [], []
    for key, value in case.weights.items():
        value[np.abs(value) < 0.5] = 0
        if key == "B":
            tensors.append(numpy_helper.from_array(value, key))
            continue
        places = np.flatnonzero(value)
        indices = places if key == "W" else np.stack(np.unravel_index(places, value.shape), 1)
        sparse.append(h.make_sparse_tensor(numpy_helper.from_array(value.ravel()[places], key),
                                           numpy_helper.from_array(indices.astype(np.int64), f"{key}_at"), list(value.shape)))
    write(case, model([case.node()], tensors, sparse))

    case = Case("sparse_constant")
    nodes = []
    for key, value in case.weights.items():
        places = np.flatnonzero(value)
        nodes.append(const(f"{key}_flat", sparse_value=h.make_sparse_tensor(
            numpy_helper.from_array(value.ravel()[places], ""), numpy_helper.from_array(places.astype(np.int64), ""), [value.size])))
        nodes += [const(f"{key}_shape", value_ints=list(value.shape)),
                  h.make_node("Reshape", [f"{key}_flat", f"{key}_shape"], [key])]
    write(case, model(nodes + [case.node()]))

    def beside(**options):
        return lambda made, path: onnx.save_model(made, str(path), save_as_external_data=True, size_threshold=0, **options)

    case = Case("external")
    write(case, model([case.node()], raw(case)), save=beside(location="external.data"))
    case = Case("external_each")
    write(case, model([case.node(prefix="each.")], raw(case, "each.")), save=beside(all_tensors_to_one_file=False))


def folding():
    """What is between weights and node."""
    case = Case("unsqueezed")
    tensors = [numpy_helper.from_array(value[0], f"{key}_one") for key, value in case.weights.items()]
    tensors.append(numpy_helper.from_array(np.array([0]), "axes"))
    nodes = [h.make_node("Unsqueeze", [f"{key}_one", "axes"], [key]) for key in case.weights]
    write(case, model(nodes + [case.node()], tensors))

    case = Case("unsqueezed_11")
    nodes = [h.make_node("Unsqueeze", [f"{key}_one"], [key], axes=[0]) for key in case.weights]
    tensors = [numpy_helper.from_array(value[0], f"{key}_one") for key, value in case.weights.items()]
    write(case, model(nodes + [case.node()], tensors, opset=11, ir=5))

    # Gates reordered, as torch.onnx does it: i, f, g, o to i, o, f, c.
    for name, opset in [("reordered", 17), ("reordered_9", 9)]:
        case, nodes, tensors = Case(name), [], []
        blocks = {"i": 0, "f": 2, "g": 3, "o": 1}
        for key, value in case.weights.items():
            value = value[0]
            parts = [value] if key != "B" else [value[:4 * H], value[4 * H:]]
            halves = []
            for k, part in enumerate(parts):
                there = np.concatenate([part[b * H:(b + 1) * H] for b in blocks.values()])
                own = f"{key}{k}"
                tensors.append(numpy_helper.from_array(there, f"{own}_torch"))
                ranges = [(0, H), (3 * H, 4 * H), (H, 3 * H)]
                for j, (start, end) in enumerate(ranges):
                    if opset < 10:
                        nodes.append(h.make_node("Slice", [f"{own}_torch"], [f"{own}_{j}"], axes=[0], starts=[start], ends=[end]))
                        continue
                    nodes += [const(f"{own}_{j}s", value_ints=[start]), const(f"{own}_{j}e", value_ints=[end if j != 1 else 2**63 - 1]),
                              const(f"{own}_{j}a", value_ints=[0]), const(f"{own}_{j}p", value_ints=[1]),
                              h.make_node("Slice", [f"{own}_torch"] + [f"{own}_{j}{letter}" for letter in "seap"], [f"{own}_{j}"])]
                nodes.append(h.make_node("Concat", [f"{own}_{j}" for j in range(3)], [own], axis=0))
                halves.append(own)
            whole = halves[0]
            if len(halves) == 2:
                whole = f"{key}_both"
                nodes.append(h.make_node("Concat", halves, [whole], axis=0))
            if opset < 13:
                nodes.append(h.make_node("Unsqueeze", [whole], [key], axes=[0]))
            else:
                nodes += [const(f"{key}_axes", value_ints=[0]), h.make_node("Unsqueeze", [whole, f"{key}_axes"], [key])]
        write(case, model(nodes + [case.node()], tensors, opset=opset, ir=8 if opset > 10 else 4))

    case = Case("rearranged")
    w, r, b = case.weights["W"], case.weights["R"], case.weights["B"]
    tensors = [numpy_helper.from_array(w[0].T.copy(), "Wt"), numpy_helper.from_array(np.concatenate([r, w], 2), "RW"),
               numpy_helper.from_array(np.stack([np.zeros_like(b), b]), "Bs"), numpy_helper.from_array(np.int64(1), "one"),
               numpy_helper.from_array(np.array([H, I]), "sizes"), numpy_helper.from_array(np.array([1, 4 * H, I]), "shape")]
    nodes = [h.make_node("Transpose", ["Wt"], ["W0"], perm=[1, 0]), h.make_node("Reshape", ["W0", "shape"], ["W1"]),
             h.make_node("Identity", ["W1"], ["W"]),
             h.make_node("Split", ["RW", "sizes"], ["R", "rest"], axis=2), h.make_node("Gather", ["Bs", "one"], ["B"], axis=0)]
    write(case, model(nodes + [case.node()], tensors))

    case = Case("quantised", bias=False)
    nodes, tensors, names = [], [], {}
    for key, value in case.weights.items():
        scale = np.abs(value).max(axis=(0, 2)) / 127
        tensors += [numpy_helper.from_array(np.round(value / scale[None, :, None]).astype(np.int8), f"{key}_q"),
                    numpy_helper.from_array(scale.astype(np.float32), f"{key}_scale"),
                    numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{key}_zero")]
        nodes.append(h.make_node("DequantizeLinear", [f"{key}_q", f"{key}_scale", f"{key}_zero"], [key], axis=1))
    write(case, model(nodes + [case.node()], tensors))

    case = Case("summed")
    nodes = [h.make_node("Add", ["b", "c"], ["half"]), h.make_node("Mul", ["half", "two"], ["B"])]
    tensors = raw(case)[:2] + [numpy_helper.from_array(case.weights["B"], "b"), numpy_helper.from_array(np.float32([[0.1]]), "c"),
                               numpy_helper.from_array(np.float32(2), "two")]
    write(case, model(nodes + [case.node()], tensors))

    case = Case("zero_bias")
    case.weights["B"] *= 0
    nodes = [h.make_node("ConstantOfShape", ["shape"], ["B"])]
    tensors = raw(case)[:2] + [numpy_helper.from_array(np.array([1, 8 * H]), "shape")]
    write(case, model(nodes + [case.node()], tensors))

    case = Case("expanded", "LSTM", 2)
    case.weights["B"][1] = case.weights["B"][0]
    nodes = [h.make_node("Expand", ["b", "shape"], ["B"])]
    tensors = raw(case)[:2] + [numpy_helper.from_array(case.weights["B"][0], "b"),
                               numpy_helper.from_array(np.array([2, 1]), "shape")]
    write(case, model(nodes + [case.node()], tensors))


def scopes():
    """Graphs in graphs, and functions."""
    case = Case("branch")
    other = Case("branch_other")
    branches = []
    for k, one in enumerate([case, other]):
        # The same names in both branches, R from outside.
        nodes = [const("W", value=numpy_helper.from_array(one.weights["W"], "")), one.node({"W": "W", "R": f"R{k}", "B": "B"}, y="Yb", name="layer")]
        branches.append(h.make_graph(nodes, f"branch_{k}", [], [info("Yb")], [numpy_helper.from_array(one.weights["B"], "B")]))
    outside = [numpy_helper.from_array(one.weights["R"], f"R{k}") for k, one in enumerate([case, other])]
    node = h.make_node("If", ["which"], ["Y"], name="choice", then_branch=branches[0], else_branch=branches[1])
    write(case, model([node], outside, inputs=[info("which", T.BOOL, [])]), feeds={"which": np.array(True)})

    case = Case("loop", "RNN", activations=["Tanh"])
    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["go_on"]), case.node(x="x", y="y4"), const("one", value_ints=[1]),
         h.make_node("Squeeze", ["y4", "one"], ["y3"]), h.make_node("Identity", ["y3"], ["out"])],
        "body", [info("k", T.INT64, []), info("go", T.BOOL, []), info("before")], [info("go_on", T.BOOL, []), info("out")],
        raw(case))
    start = np.zeros((STEPS, B, H), np.float32)
    nodes = [const("once", value=numpy_helper.from_array(np.int64(1), "")), const("true", value=numpy_helper.from_array(np.array(True), "")),
             const("start", value=numpy_helper.from_array(start, "")), h.make_node("Loop", ["once", "true", "start"], ["Y"], body=body)]
    write(case, model(nodes))

    case = Case("scan", "GRU")
    body = h.make_graph([case.node(x="piece", y="y4"), const("one", value_ints=[1]), h.make_node("Squeeze", ["y4", "one"], ["y3"])],
                        "body", [info("piece")], [info("y3")])
    nodes = [const("front", value_ints=[0]), h.make_node("Unsqueeze", ["x", "front"], ["pieces"]),
             h.make_node("Scan", ["pieces"], ["all"], num_scan_inputs=1, body=body), h.make_node("Squeeze", ["all", "front"], ["Y"])]
    write(case, model(nodes, raw(case)))

    case = Case("function", "LSTM", 2)
    body = [case.node()]
    made = h.make_function("custom", "Encoder", ["x", "W", "R", "B"], ["Y"], body, [h.make_opsetid("", 17)])
    call = h.make_node("Encoder", ["x", "w", "r", "b"], ["Y"], domain="custom", name="call")
    tensors = [numpy_helper.from_array(value, key.lower()) for key, value in case.weights.items()]
    write(case, model([call], tensors, functions=[made]))

    case = Case("function_attributes")
    node = h.make_node("LSTM", ["x", "W", "R", "B"], ["Y"])
    for name, kind in [("hidden_size", onnx.AttributeProto.INT), ("direction", onnx.AttributeProto.STRING)]:
        reference = onnx.AttributeProto(name=name, ref_attr_name=name, type=kind)
        node.attribute.append(reference)
    constants = [const(key, value=numpy_helper.from_array(value, "")) for key, value in case.weights.items()]
    made = h.make_function("custom", "Encoder", ["x"], ["Y"], constants + [node], [h.make_opsetid("", 17)],
                           attributes=["hidden_size"], attribute_protos=[h.make_attribute("direction", "reverse")])
    write(case, model([h.make_node("Encoder", ["x"], ["Y"], domain="custom", hidden_size=H)], functions=[made]))

    case = Case("function_weights")
    turn = h.make_function("custom", "Turn", ["one"], ["all"], [const("axes", value_ints=[0]), h.make_node("Unsqueeze", ["one", "axes"], ["all"])],
                           [h.make_opsetid("", 17)])
    nodes = [h.make_node("Turn", [f"{key}1"], [key], domain="custom") for key in case.weights]
    tensors = [numpy_helper.from_array(value[0], f"{key}1") for key, value in case.weights.items()]
    write(case, model(nodes + [case.node()], tensors, functions=[turn]))

    # Inputs with a default, as all initialisers were until version 4 of the format.
    case = Case("inputs")
    write(case, model([case.node()], raw(case), opset=8, ir=3, inputs=[info(key, T.FLOAT, value.shape) for key, value in case.weights.items()]))


def stacks():
    """Several nodes."""
    import torch

    warnings.filterwarnings("ignore")
    torch.manual_seed(1)
    rnn = torch.nn
    for name, layer in [("torch_lstm", rnn.LSTM(I, H, 2, batch_first=True, bidirectional=True)),
                        ("torch_gru", rnn.GRU(I, H, 3)), ("torch_rnn", rnn.RNN(I, H, 2, nonlinearity="relu", bias=False)),
                        ("dynamo_lstm", rnn.LSTM(I, H, 2, batch_first=True, bidirectional=True)),
                        ("dynamo_gru", rnn.GRU(I, H, 2)), ("dynamo_open", rnn.LSTM(I, H, 2, bidirectional=True))]:
        case, first, dynamo = Case(name), layer.batch_first, "dynamo" in name

        class Outputs(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = layer

            def forward(self, x):
                return self.rnn(x)[0]

        axes = {"x": {1 - first: "batch", int(first): "time"}}
        dynamic = {"dynamic_axes": axes, "opset_version": 17}
        if dynamo:
            dynamic = {"dynamic_shapes": {"x": {k: torch.export.Dim(axis) for k, axis in axes["x"].items()}}} if "open" in name else {}
        torch.onnx.export(Outputs().eval(), (torch.zeros((B, STEPS, I) if first else (STEPS, B, I)),), str(FOLDER / f"{name}.onnx"),
                          dynamo=dynamo, input_names=["x"], output_names=["Y"], external_data=False, **dynamic)
        made = onnx.load(FOLDER / f"{name}.onnx")
        # Where on this machine each line is.
        graph = made.graph
        for about in [made, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]:
            about.ClearField("metadata_props")
            about.ClearField("doc_string")
        write(case, made, layout=int(first))

    # Two that are no stack: batch and time change places between them.
    case, second = Case("turned"), Case("turned_second", inputs=H)
    nodes = [case.node(prefix="a.", y="Y0", name="a"), const("one", value_ints=[1]), h.make_node("Squeeze", ["Y0", "one"], ["y0"]),
             h.make_node("Transpose", ["y0"], ["x1"], perm=[1, 0, 2]), second.node(prefix="b.", x="x1", name="b")]
    FOLDER.joinpath("turned.onnx").write_bytes(model(nodes, raw(case, "a.") + raw(second, "b.")).SerializeToString())


def refused():
    """Models of which a message is wanted."""
    def only(case, *args, **options):
        FOLDER.joinpath(f"{case.name}.onnx").write_bytes(model(*args, **options).SerializeToString())

    for name, attributes in [("no_activation", dict(activations=["Sigmoid", "Gelu", "Tanh"])), ("no_alpha", dict(activations=["Sigmoid", "Tanh", "ScaledTanh"])),
                             ("few_activations", dict(activations=["Sigmoid", "Tanh"])), ("zero_clip", dict(clip=0.0)),
                             ("odd_direction", dict(direction="sideways")), ("odd_layout", dict(layout=2)), ("odd_attribute", dict(zoneout=0.1))]:
        case = Case(name, **attributes)
        only(case, [case.node()], raw(case))
    case = Case("runtimes_own")
    node = case.node()
    node.op_type, node.domain = "DynamicQuantizeLSTM", "com.microsoft"
    node.input.extend(["", "", "", "", "W_scale", "W_zero", "R_scale", "R_zero"])
    tensors = raw(case)[2:]
    for key in "WR":
        numbers = np.round(50 * case.weights[key]).astype(np.int8).transpose(0, 2, 1)
        tensors += [numpy_helper.from_array(np.ascontiguousarray(numbers), key), numpy_helper.from_array(np.float32([0.02]), f"{key}_scale"),
                    numpy_helper.from_array(np.int8([0]), f"{key}_zero")]
    only(case, [node], tensors)
    # A state of one number, in another type, as often as there are rows.
    for name, number in [("filled_state", 0.5), ("zero_state", 0.0)]:
        case = Case(name)
        node = case.node()
        node.input.extend(["", "h0"])
        nodes = [h.make_node("Shape", ["x"], ["rows"], start=1, end=2), const("one", value_ints=[1]), const("units", value_ints=[H]),
                 h.make_node("Concat", ["one", "rows", "units"], ["shape"], axis=0),
                 h.make_node("ConstantOfShape", ["shape"], ["half"], value=h.make_tensor("value", T.FLOAT16, [1], [number])),
                 h.make_node("Cast", ["half"], ["h0"], to=T.FLOAT), node]
        only(case, nodes, raw(case))
    case = Case("unrolled", "RNN")
    tensors = [numpy_helper.from_array(np.ascontiguousarray(case.weights[key][0].T), f"{key}t") for key in "WR"]
    nodes = [h.make_node("Split", ["x"], [f"x{k}" for k in range(STEPS)], axis=0)]
    for k in range(STEPS):
        nodes += [h.make_node("MatMul", [f"x{k}", "Wt"], [f"a{k}"]), h.make_node("MatMul", [f"h{k - 1}" if k else "x0", "Rt"], [f"b{k}"]),
                  h.make_node("Add", [f"a{k}", f"b{k}"], [f"s{k}"]), h.make_node("Tanh", [f"s{k}"], [f"h{k}"])]
    only(case, nodes, tensors, output=f"h{STEPS - 1}")
    case = Case("odd_size")
    case.attributes["hidden_size"] = 5
    only(case, [case.node()], raw(case))
    case = Case("odd_shape")
    case.weights["B"] = case.weights["B"][:, :-1]
    only(case, [case.node()], raw(case))
    case = Case("computed")
    only(case, [h.make_node("Sin", ["W0"], ["W"]), case.node()], [numpy_helper.from_array(case.weights["W"], "W0")] + raw(case)[1:])
    case = Case("weight_input")
    only(case, [case.node()], raw(case)[1:], inputs=[info("W", T.FLOAT, [1, 4 * H, I])])
    case = Case("learned_state")
    node = case.node()
    node.input.extend(["", "h0"])
    state = numpy_helper.from_array(np.full((1, B, H), 0.5, np.float32), "h0")
    only(case, [node], raw(case) + [state])
    case = Case("learned_state_input")  # as all initialisers up to IR version 3
    only(case, [node], raw(case) + [state], inputs=[info("h0", T.FLOAT, [1, B, H])])
    # Not to be computed: a shape of a hundred shapes, of a hundred each, and so on; and a call a thousand times over.
    shapes = [h.make_node("Concat", [f"c{k + 1}"] * 100, [f"c{k}"], axis=0) for k in range(8)]
    nodes = [h.make_node("Shape", ["Y1"], ["c8"]), *shapes[::-1], h.make_node("Reshape", ["Y1", "c0"], ["z"])]
    first = h.make_node("LSTM", ["x", "W", "R", "B"], ["Y1"], hidden_size=H)
    only(Case("shapes_of_shapes"), [first, *nodes, h.make_node("LSTM", ["z", "W", "R", "B"], ["Y"], hidden_size=H)], raw(case))
    names = [f"i{k}" for k in range(4_000)]
    wide = h.make_function("own", "wide", names, ["o"], [], [h.make_opsetid("", 17)])
    calls = [h.make_node("wide", ["x"], [f"o{k}"], domain="own") for k in range(1_000)]
    only(Case("calls_of_inputs"), [*calls, h.make_node("LSTM", ["x", "W", "R", "B"], ["Y"], hidden_size=H)], raw(case),
         functions=[wide])
    case = Case("truncated")
    tensors = raw(case)
    tensors[1].raw_data = tensors[1].raw_data[:-4]
    only(case, [case.node()], tensors)
    case = Case("outside")
    tensors = raw(case)
    tensors[0].ClearField("raw_data")
    tensors[0].data_location = T.EXTERNAL
    tensors[0].external_data.add(key="location", value="../../own_files.py")
    only(case, [case.node()], tensors)
    case = Case("gone")
    tensors[0].external_data[0].value = "gone.data"
    only(case, [case.node()], tensors)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for make in [attributes, storage, folding, scopes, stacks, refused]:
        make()
    save_file(expected, str(FOLDER / "expected.safetensors"), {"onnxruntime": onnxruntime.__version__})
    sys.stdout.write(f"{len(expected) // 2} models\n")
