"""What an operator tells of itself, so that nobody outside `ops` lists operators.

Every default is the cautious one: an operator without traits is computed rightly everywhere, only less cleverly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray

Shape = tuple[int, ...]
Array = NDArray[Any]
Family = Literal["conv", "depthwise", "dense", "recurrent", "normal", "pool", "sum", "move", "cast", "unary"]
FAMILIES: tuple[Family, ...] = ("conv", "depthwise", "dense", "recurrent", "normal", "pool", "sum", "move", "cast", "unary")


@dataclass(frozen=True)
class View:
    """A linear operator as G matrix products.

    Attributes:
        rows: activations ``[V, *shape]`` -> ``[G, R, K]``, the rows that the weights multiply.
        matrix: weights -> ``[G, O / G, K]``.
        weights: the inverse of `matrix`.
        others: axes of the weights but that of output channels.
        floats: floats of rows per sample.
    """

    rows: Callable[[Array], Array]
    matrix: Callable[[Array], Array]
    weights: Callable[[Array], Array]
    others: tuple[int, ...]
    floats: int

    def channels(self, values: Array) -> Array:
        """``[G, O / G]`` -> ``[O]``, in the order of the output channels."""
        return values.reshape(-1)


@dataclass(frozen=True)
class Linear:
    """An operator of input, constant weights and bias (inputs 0, 1 and 2) whose result before its clamp is linear in each.

    Attributes:
        axis: of the weights, over the output channels.
        view: ``(op, shape of x, of the weights, of y)`` -> the matrix products that it is.
        depthwise: an output channel reads one input channel; else all of its group, which lie along the weights' last axis.
        equalized: the quantizer may scale its channels (`quantize.channels`).
        folds_behind: factors and terms of its input's channels can go into its weights and bias.
    """

    axis: int
    view: Callable[[Any, Shape, Shape, Shape], View]
    depthwise: bool = False
    equalized: bool = True
    folds_behind: bool = True


class Rows(NamedTuple):
    """Which rows (axis 1 of ``[1, H, W, C]``) of an input some rows of the output read.

    Row y of the output reads the `extent` rows from ``y * step // up - before`` on, of which those outside are padding.
    """

    step: int = 1
    before: int = 0
    extent: int = 1
    up: int = 1


# (op, shapes of its inputs) -> the rows that each of them is read by, None where it is not read row by row
RowsOf = Callable[[Any, Sequence[Shape]], Rows | None]


# (op, shapes of its inputs, shape of its output) -> of each input, int64, non-decreasing: for each of some equal runs of results, in order,
# the first element that it or one behind it reads
Firsts = Callable[[Any, Sequence[Shape], Shape], Sequence[Array | None]]


class Sliding(NamedTuple):
    """How an operator computes rows along one axis of its output from rows along one axis of its inputs.

    Row y along `axis` of the output reads the `extent` rows from ``y * step - before`` on, of which those outside are padding.

    Attributes:
        of: a number of rows, and rows of padding before and behind what they read -> the operator that computes them from that.
    """

    axis: int
    of: Callable[[int, int, int], Any]
    step: int = 1
    before: int = 0
    extent: int = 1


# (op, shapes of its inputs, an axis of theirs) -> how it goes along the axis, None where its rows depend on where they lie
Slides = Callable[[Any, Sequence[Shape], int], Sliding | None]


class Product(NamedTuple):
    """A product of constant weights inside an operator, by positions of inputs: of `weights` with input `of`, plus `bias` if not None.

    An integer bias has the scale of that input times that of the weights.
    """

    weights: int
    bias: int | None
    of: int


class Tie(NamedTuple):
    """Entry for entry, channel ``source[i]`` of input `position` exists if and only if channel ``target[i]`` of the output does."""

    position: int
    source: Array
    target: Array


# (op, shape of every input or None for a constant, shape of the output) -> how channels (last axes) of inputs and output are tied;
# None: all of both must stay
Channels = Callable[[Any, Sequence[Shape | None], Shape], Sequence[Tie] | None]


@dataclass(frozen=True)
class Axes:
    """How the attributes of an operator that can work in several orders of axes speak of axes.

    Attributes:
        last: it works along the last axis, which must stay the last.
        single: attributes that name one axis of a tensor whose rank stays.
        per_axis: attributes with one entry per axis, each with the entry of a new axis of length 1.
        reduced: the attribute that names the axes that it reduces; `keepdims` tells whether they stay as length 1.
    """

    last: bool = False
    single: tuple[str, ...] = ()
    per_axis: tuple[tuple[str, Any], ...] = ()
    reduced: str = ""


class Natural(NamedTuple):
    """The int8 scale and zero point that hold all that an operator can give.

    `when`: ``demanded``: its arithmetic has no other; ``always``: the quantizer takes no other; ``unknown``: where nothing is known of
    its values, which often span less; ``given``: not these but those that the operator has as attributes of these names.
    """

    scale: float
    zero_point: int
    when: Literal["demanded", "always", "unknown", "given"] = "always"


@dataclass(frozen=True)
class Traits:
    """The facts of one class of operators.

    Values:
        family: its class of colour in the report.
        same_scale: the laws of int8 under which output and first input must have one scale and zero point.
        moves: every output element is an element of the first input, unchanged, and every input is used as it is.
        view: it costs nothing: the same bytes under another shape.
        saturates: with one scale at both ends, what it cuts off needs no room before it.
        merges: it brings inputs of several scales to the output's, exactly where they are one.
        averages: results mix several values of the first input: it reads all of them, whatever the range of the results.
        casts: its real meaning is the identity; only the stored type changes.
        natural: the range that its results have by nature.
        near: ``(operator, shape of the input)`` -> axes, and how far below the largest value along them it takes no notice of a value.
        flat: ``operator`` -> the least and the largest input that it tells from what lies beyond.
        signs: its output is the sum of its inputs, each with this sign, clamped or not.
        excludes: positions of inputs that are masks: far below 0 one value is as another, and int8 keeps its least code for them.

    Structure:
        elementwise: each output element depends on the elements at its place alone (broadcasting included).
        axes: how it works in other orders of axes; None: only in the one it has, unless `elementwise`.
        channels: how its channels are tied.
        counts: attributes whose last entry is the output's number of channels.
        homogeneous: scaling a channel of all inputs by a positive factor scales that channel of the output, if its clamp does.
        monotone: how bounds go through its int8 arithmetic. ``increasing`` in every input; ``difference``: increasing in the first,
            decreasing in the second; ``corners``: monotone in each of two inputs, up or down; ``table``: by 256 values; ``knee``:
            monotone on either side of the zero point.
        bounds: ``(params, low, high)`` -> bounds of its int8 results, where no `monotone` says them, from those of its input.
        rows: which rows of its inputs some rows of its output read, where it can be computed by rows and is not `elementwise`.
        firsts: what of its inputs is of no more need as its results come, one after the other; None of an input: nothing is known.
        slides: how it computes rows along an axis, where that does not follow from `elementwise` or `axes`.
        gathers: ``(operator, shape of its input)`` -> whether it takes in all rows and columns of ``[1, H, W, C]``, of which kernels of
            ``<its kernels'>_rows`` may be given some at a time.
        affine: ``(constant operand as float64, whether it comes first)`` -> factor and term in ``y = factor * x + term`` of the other.

    Weights:
        linear: what it is as matrix products.
        products: its products with constant weights.
        real: positions of parameters that stay float32 beside int8 activations.
        terms: positions of parameters that are added to results without being the bias of a product.
        states: pairs (input, output) of positions that hold a state before and after: h first, then a cell state.
        narrow: on halves its weights may be int8.
        words: it is computed on int16 (and, if it moves, on any type).
        word_scales: pairs of a position and the scale that this input has on int16, the only integers that it is computed on.
        alike: positions of inputs that must have the output's type, beside the first one where `same_scale` says so.
        indices: positions of inputs that are whole numbers, stored in int32 whatever the others are.
        counts_whole: its outputs are whole numbers, stored in int32 whatever its inputs are.
        rows_of: positions of constant tables of which it reads rows: in four bits they have a scale per row.
        file_words: a quantized file may have it on int16, which the quantizer never chooses.
        float32: ``able``: it is computed on float32, too; ``kept``: a float model keeps it so, as its values span more than halves
            and integers hold.
    """

    family: Family = "unary"
    same_scale: frozenset[str] = frozenset()
    moves: bool = False
    view: bool = False
    saturates: bool = False
    merges: bool = False
    averages: bool = False
    casts: bool = False
    natural: Natural | None = None

    near: Callable[[Any, Shape], tuple[tuple[int, ...], float]] | None = None
    flat: Callable[[Any], tuple[float, float]] | None = None
    signs: tuple[int, ...] = ()
    excludes: tuple[int, ...] = ()

    elementwise: bool = False
    axes: Axes | None = None
    channels: Channels | None = None
    counts: tuple[str, ...] = ()
    homogeneous: bool = False
    monotone: Literal["", "increasing", "difference", "corners", "table", "knee"] = ""
    bounds: Callable[[Any, Array, Array], tuple[Array, Array]] | None = None
    affine: Callable[[Array, bool], tuple[Array, Array]] | None = None
    rows: RowsOf | None = None
    firsts: Firsts | None = None
    slides: Slides | None = None
    gathers: Callable[[Any, Shape], bool] | None = None

    linear: Linear | None = None
    products: tuple[Product, ...] = ()
    real: tuple[int, ...] = ()
    terms: tuple[int, ...] = ()
    states: tuple[tuple[int, int], ...] = ()
    narrow: bool = False
    words: bool = False
    word_scales: tuple[tuple[int, float], ...] = ()
    alike: tuple[int, ...] = ()
    indices: tuple[int, ...] = ()
    counts_whole: bool = False
    rows_of: tuple[int, ...] = ()
    file_words: bool = False
    float32: Literal["", "able", "kept"] = ""

    @property
    def biases(self) -> tuple[int, ...]:
        """The positions of biases and other terms: float32 beside halves."""
        return (*(p.bias for p in self.products if p.bias is not None), *self.terms)

    @property
    def weights(self) -> tuple[int, ...]:
        """The positions of constant weights."""
        return tuple(p.weights for p in self.products)

    def keeps_scale(self, law: str) -> bool:
        """Whether output and first input must have one scale and zero point."""
        return law in self.same_scale

    def product_of(self, bias: int) -> Product | None:
        """The product that the bias at a position is added to."""
        return next((p for p in self.products if p.bias == bias), None)


def channel_count(shape: Shape) -> int:
    """Length of the last axis; 1 for a scalar."""
    return shape[-1] if shape else 1
