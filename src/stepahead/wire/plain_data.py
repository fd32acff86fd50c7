"""Sparkplug messages of data in the plain case: the next of a node that is born, its numbers known by alias."""

from collections.abc import Callable
from zlib import crc32

from google.protobuf.message import DecodeError

from stepahead.wire.columns import Columns
from stepahead.wire.edge_node import EdgeNode
from stepahead.wire.formats.sparkplug import BITS, SIGNED, integer
from stepahead.wire.formats.sparkplug_schema import DataType, Payload
from stepahead.wire.formats.timestamp import DAY_NS, EARLIEST_NS
from stepahead.wire.metrics import MetricReader, SparkplugRoute

__all__ = ["PlainData"]

FLOAT, DOUBLE = int(DataType.FLOAT), int(DataType.DOUBLE)
INF = float("inf")
QOS = 0b110
"""Bits of the quality of service in the flags of a PUBLISH; whether it is 0 is all that counts here."""
LETTER_Y = 0x79
POSITIVE_BELOW = {datatype: 1 << bits - (datatype in SIGNED) for datatype, bits in BITS.items()}
"""Datatype of an integer -> what is below stands for itself, whatever the width of its field."""
PLAIN_FIELDS = {FLOAT: ("float_value",), DOUBLE: ("double_value",)} | dict.fromkeys(BITS, ("int_value", "long_value"))
"""Datatype -> the fields in which its values are read without looking further."""

_parse = Payload.FromString


class PlainData:
    """Reads such messages, in one function: calls would be a third of what a message of one metric costs.

    Args:
        reader: of metrics that are not plain.
        touched: nodes are put in whose place in the sequence a restart must know.
        ask: told of a node that wants a rebirth, with the time and index of the message.
    """

    def __init__(
        self, reader: MetricReader, touched: set[EdgeNode], ask: Callable[[EdgeNode, int, int, Columns], None]
    ) -> None:
        self._reader = reader
        self._touched = touched
        self._ask = ask

    def read(
        self, route: SparkplugRoute, payload: bytes, flags: int, received_ns: int, index: int, columns: Columns
    ) -> bool:
        """Read a message of data; False, and nothing done, when the case is another.

        Args:
            route: of its topic.
            payload: raw.
            flags: of the delivery.
            received_ns: UTC nanoseconds.
            index: of the delivery.
            columns: rows are appended.
        """
        try:
            message = _parse(payload)
        except DecodeError:
            return False
        node, seq, default_ms, qos = route.node, message.seq, message.timestamp, flags & QOS
        births = node.devices.get(route.device)
        if births is None or not (seq or message.HasField("seq")):
            return False
        if not node.advance(seq, default_ms, crc32(payload), qos):
            return False
        if qos:
            self._touched.add(node)
        # Only a quality can speak against a plain number, and it would have to stand here; its last letter is rare.
        judged = route.judged or (LETTER_Y in payload and b"uality" in payload)
        aliases, latest_ns = births.aliases, received_ns + DAY_NS
        metrics = message.metrics
        # As a list: going through the container itself costs twice as much.
        for metric in (metrics[0],) if len(metrics) == 1 else metrics[:]:
            alias = metric.alias
            known = aliases.get(alias)
            # Alias 0 may be an alias that is not there, as zero may be a value that is not there.
            if known is not None and known.slot >= 0 and alias and not (judged or metric.name or metric.is_null):
                datatype, number = known.datatype, 0.0
                if datatype == DOUBLE:
                    number = metric.double_value
                elif datatype == FLOAT:
                    number = metric.float_value
                elif datatype in POSITIVE_BELOW:
                    small, own = metric.int_value, metric.datatype
                    if own and own != datatype:
                        number = INF  # not plain
                    elif 0 < small < POSITIVE_BELOW[datatype]:
                        number = float(small)
                    else:
                        read = integer(small or metric.long_value, 32 if small else 64, datatype)
                        number = read if type(read) is float else INF
                time_ns = (metric.timestamp or default_ms) * 1_000_000
                if (
                    (number or metric.WhichOneof("value") in PLAIN_FIELDS.get(datatype, ()))
                    and number - number == 0.0
                    and EARLIEST_NS <= time_ns <= latest_ns
                ):
                    columns.series.append(known.slot)
                    columns.time_ns.append(time_ns)
                    columns.value.append(number)
                    columns.message.append(index)
                    continue
            self._reader.read(metric, route, default_ms, True, births.names, aliases, received_ns, index, columns)
            if node.ask:
                self._ask(node, received_ns, index, columns)
        return True
