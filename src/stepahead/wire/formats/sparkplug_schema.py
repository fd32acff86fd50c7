"""The Sparkplug B payload as protobuf message classes, built from a table: no generated file that locks a version."""

from enum import IntEnum
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["DataType", "Metric", "Payload"]


class DataType(IntEnum):
    """What `Metric.datatype` and `PropertyValue.type` hold (Sparkplug 3.0, §6.4.16)."""

    UNKNOWN = 0
    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTYSET = 20
    PROPERTYSETLIST = 21
    INT8ARRAY = 22
    INT16ARRAY = 23
    INT32ARRAY = 24
    INT64ARRAY = 25
    UINT8ARRAY = 26
    UINT16ARRAY = 27
    UINT32ARRAY = 28
    UINT64ARRAY = 29
    FLOATARRAY = 30
    DOUBLEARRAY = 31
    BOOLEANARRAY = 32
    STRINGARRAY = 33
    DATETIMEARRAY = 34


PACKAGE = "org.eclipse.tahu.protobuf"

# Message -> its fields (Sparkplug 3.0, §6.4.1, the .proto there): number, type, name. `*` is repeated, `|` a member of
# the oneof `value`; a type that is no scalar is a message of this table. Extensions are read over as unknown fields.
TABLE: Final[dict[str, str]] = {
    "Payload": """1 uint64 timestamp, 2 *Payload.Metric metrics, 3 uint64 seq, 4 string uuid, 5 bytes body""",
    "Payload.Template": """1 string version, 2 *Payload.Metric metrics, 3 *Payload.Template.Parameter parameters,
        4 string template_ref, 5 bool is_definition""",
    "Payload.Template.Parameter": """1 string name, 2 uint32 type, 3 |uint32 int_value, 4 |uint64 long_value,
        5 |float float_value, 6 |double double_value, 7 |bool boolean_value, 8 |string string_value""",
    "Payload.DataSet": """1 uint64 num_of_columns, 2 *string columns, 3 *uint32 types, 4 *Payload.DataSet.Row rows""",
    "Payload.DataSet.DataSetValue": """1 |uint32 int_value, 2 |uint64 long_value, 3 |float float_value,
        4 |double double_value, 5 |bool boolean_value, 6 |string string_value""",
    "Payload.DataSet.Row": """1 *Payload.DataSet.DataSetValue elements""",
    "Payload.PropertyValue": """1 uint32 type, 2 bool is_null, 3 |uint32 int_value, 4 |uint64 long_value,
        5 |float float_value, 6 |double double_value, 7 |bool boolean_value, 8 |string string_value,
        9 |Payload.PropertySet propertyset_value, 10 |Payload.PropertySetList propertysets_value""",
    "Payload.PropertySet": """1 *string keys, 2 *Payload.PropertyValue values""",
    "Payload.PropertySetList": """1 *Payload.PropertySet propertyset""",
    "Payload.MetaData": """1 bool is_multi_part, 2 string content_type, 3 uint64 size, 4 uint64 seq,
        5 string file_name, 6 string file_type, 7 string md5, 8 string description""",
    "Payload.Metric": """1 string name, 2 uint64 alias, 3 uint64 timestamp, 4 uint32 datatype, 5 bool is_historical,
        6 bool is_transient, 7 bool is_null, 8 Payload.MetaData metadata, 9 Payload.PropertySet properties,
        10 |uint32 int_value, 11 |uint64 long_value, 12 |float float_value, 13 |double double_value,
        14 |bool boolean_value, 15 |string string_value, 16 |bytes bytes_value, 17 |Payload.DataSet dataset_value,
        18 |Payload.Template template_value""",
}

Field = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "uint32": Field.TYPE_UINT32,
    "uint64": Field.TYPE_UINT64,
    "float": Field.TYPE_FLOAT,
    "double": Field.TYPE_DOUBLE,
    "bool": Field.TYPE_BOOL,
    "string": Field.TYPE_STRING,
    "bytes": Field.TYPE_BYTES,
}


def _fill(message: descriptor_pb2.DescriptorProto, fields: str) -> None:
    """Add the fields of one row of `TABLE`."""
    for text in fields.split(","):
        number, kind, name = text.split()
        in_oneof = kind.startswith("|")
        if in_oneof and not message.oneof_decl:
            message.oneof_decl.add(name="value")
        label = Field.LABEL_REPEATED if kind.startswith("*") else Field.LABEL_OPTIONAL
        field = message.field.add(name=name, number=int(number), label=label)
        kind = kind.lstrip("*|")
        if in_oneof:
            field.oneof_index = 0
        if kind in SCALARS:
            field.type = SCALARS[kind]
        else:
            field.type, field.type_name = Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"


def _build() -> Any:
    """The class of `Payload`, in a pool of its own: another package may hold messages of the same names."""
    file = descriptor_pb2.FileDescriptorProto(name="stepahead_sparkplug_b.proto", package=PACKAGE, syntax="proto2")
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for path, fields in TABLE.items():  # outer messages stand before their inner ones
        outer, _, name = path.rpartition(".")
        made[path] = made[outer].nested_type.add(name=name) if outer else file.message_type.add(name=name)
        _fill(made[path], fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))


Payload: Final[Any] = _build()
"""The message class; its attributes are those of the standard's .proto.

Example:
    >>> payload = Payload(timestamp=1760000000000, seq=0)
    >>> metric = payload.metrics.add(name="Pressure", alias=7, datatype=DataType.DOUBLE, double_value=2.5)
    >>> again = Payload.FromString(payload.SerializeToString())
    >>> again.metrics[0].WhichOneof("value"), again.metrics[0].double_value, again.metrics[0].HasField("timestamp")
    ('double_value', 2.5, False)
"""

Metric: Final[Any] = Payload.Metric
"""The message class of one metric."""
