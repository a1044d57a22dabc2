//! Rows with their sequences as Parquet.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::{Compression, Encoding, ZstdLevel},
    data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::{EnabledStatistics, WriterProperties},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::ColumnPath},
};

use super::Row;
use crate::sequence::{Element, Sequence};

/// Flows of a row group: large enough to compress well, small enough to hold.
const GROUP_FLOWS: usize = 32_768;

const FLOW_COLUMNS: &str = "
    required binary capture (UTF8);
    required binary src_ip (UTF8);
    required binary dst_ip (UTF8);
    required int32 src_port (INTEGER(16,false));
    required int32 dst_port (INTEGER(16,false));
    required int32 proto (INTEGER(8,false));
    required int32 ip_version (INTEGER(8,false));
    optional int32 vlan (INTEGER(16,false));
    required int64 first_ts_ns (INTEGER(64,false));
    required int64 last_ts_ns (INTEGER(64,false));
    required int64 packets (INTEGER(64,false));
    required int64 bytes (INTEGER(64,false));
    required binary end (UTF8);
    required int32 seq_len (INTEGER(8,false));
    required group direction (LIST) { repeated group list { required int32 element (INTEGER(8,false)); } }
    required group payload_len (LIST) { repeated group list { required int32 element (INTEGER(32,false)); } }
    required group tcp_window (LIST) { repeated group list { required int32 element (INTEGER(16,false)); } }
    required group gap_ns (LIST) { repeated group list { required int64 element (INTEGER(64,false)); } }
    required group tcp_flags (LIST) { repeated group list { required int32 element (INTEGER(8,false)); } }
";

/// Columns of times, which rise: told by their differences they take less room and time than in a dictionary.
const TIMES: [&str; 2] = ["first_ts_ns", "last_ts_ns"];

const LABEL_COLUMNS: &str = "
    required binary service (UTF8);
    required binary protocol (UTF8);
    required binary class (UTF8);
    required float confidence;
    required binary stage (UTF8);
    required binary model (UTF8);
";

/// Columns of a row group, until it is written.
#[derive(Default)]
struct Columns {
    flows: usize,
    capture: Vec<ByteArray>,
    ends: [Vec<ByteArray>; 2],
    ports: [Vec<i32>; 2],
    proto: Vec<i32>,
    ip_version: Vec<i32>,
    vlan: Vec<i32>,
    vlan_levels: Vec<i16>,
    totals: [Vec<i64>; 4],
    end: Vec<ByteArray>,
    seq_len: Vec<i32>,
    /// 1 where a list has an element, 0 where it is empty.
    definition: Vec<i16>,
    /// 0 at the first element of a list, 1 at the others.
    repetition: Vec<i16>,
    direction: Vec<i32>,
    payload_len: Vec<i32>,
    tcp_window: Vec<i32>,
    gap_ns: Vec<i64>,
    tcp_flags: Vec<i32>,
    labels: [Vec<ByteArray>; 3],
    confidence: Vec<f32>,
    provenance: [Vec<ByteArray>; 2],
}

impl Columns {
    fn push(&mut self, row: &Row<'_>, packets: &[Element]) {
        let text = |text: &str| ByteArray::from(text);
        let (source, destination) = (row.id.source(), row.id.destination());
        self.flows += 1;
        self.capture.push(text(row.capture));
        for (side, address) in [source, destination].into_iter().enumerate() {
            self.ends[side].push(text(&address.ip().to_string()));
            self.ports[side].push(address.port().into());
        }
        self.proto.push(row.id.key.protocol.into());
        self.ip_version.push(row.id.key.ip_version.into());
        self.vlan.extend(row.vlan.map(i32::from));
        self.vlan_levels.push(row.vlan.is_some().into());
        // Parquet has signed words and a note that they are meant unsigned.
        let totals = [row.first_ts_ns, row.last_ts_ns, row.packets, row.bytes];
        for (column, total) in self.totals.iter_mut().zip(totals) {
            column.push(total as i64);
        }
        self.end.push(text(row.end));
        self.seq_len.push(packets.len() as i32);
        if packets.is_empty() {
            self.definition.push(0);
            self.repetition.push(0);
        }
        for (index, packet) in packets.iter().enumerate() {
            self.definition.push(1);
            self.repetition.push((index > 0).into());
            self.direction.push(packet.direction.into());
            self.payload_len.push(packet.payload_len as i32);
            self.tcp_window.push(packet.window.into());
            self.gap_ns.push(Sequence::gap_ns(packets, index) as i64);
            self.tcp_flags.push(packet.tcp_flags.into());
        }
        if let Some(label) = &row.label {
            for (column, name) in self.labels.iter_mut().zip([label.service, label.protocol, label.class]) {
                column.push(text(name));
            }
            self.confidence.push(label.confidence);
            self.provenance[0].push(text(label.stage));
            self.provenance[1].push(text(label.model));
        }
    }

    /// Writes the columns in the schema's order.
    fn write<W: Write + Send>(
        &self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        flat::<ByteArrayType, W>(group, &self.capture)?;
        self.ends.iter().try_for_each(|column| flat::<ByteArrayType, W>(group, column))?;
        self.ports.iter().try_for_each(|column| flat::<Int32Type, W>(group, column))?;
        flat::<Int32Type, W>(group, &self.proto)?;
        flat::<Int32Type, W>(group, &self.ip_version)?;
        column::<Int32Type, W>(group, &self.vlan, Some(&self.vlan_levels), None)?;
        self.totals.iter().try_for_each(|column| flat::<Int64Type, W>(group, column))?;
        flat::<ByteArrayType, W>(group, &self.end)?;
        flat::<Int32Type, W>(group, &self.seq_len)?;
        let (definition, repetition) = (Some(&self.definition[..]), Some(&self.repetition[..]));
        column::<Int32Type, W>(group, &self.direction, definition, repetition)?;
        column::<Int32Type, W>(group, &self.payload_len, definition, repetition)?;
        column::<Int32Type, W>(group, &self.tcp_window, definition, repetition)?;
        column::<Int64Type, W>(group, &self.gap_ns, definition, repetition)?;
        column::<Int32Type, W>(group, &self.tcp_flags, definition, repetition)?;
        if !self.confidence.is_empty() {
            self.labels.iter().try_for_each(|column| flat::<ByteArrayType, W>(group, column))?;
            flat::<FloatType, W>(group, &self.confidence)?;
            self.provenance.iter().try_for_each(|column| flat::<ByteArrayType, W>(group, column))?;
        }
        Ok(())
    }
}

fn flat<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    column::<T, W>(group, values, None, None)
}

fn column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
    definition: Option<&[i16]>,
    repetition: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let mut writer =
        group.next_column()?.ok_or_else(|| ParquetError::General("more columns than the schema".into()))?;
    writer.typed::<T>().write_batch(values, definition, repetition)?;
    writer.close()
}

/// Writes rows with their sequences.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Columns,
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file; `labelled` adds the columns of the answer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn new(out: W, labelled: bool) -> Result<Self, ParquetError> {
        let labels = if labelled { LABEL_COLUMNS } else { "" };
        let schema = parse_message_type(&format!("message flow {{ {FLOW_COLUMNS} {labels} }}"))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_created_by(concat!("ntc ", env!("CARGO_PKG_VERSION")).into());
        for column in TIMES.map(ColumnPath::from) {
            properties = properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
        }
        let properties = properties.build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
        Ok(Self { file, columns: Columns::default() })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// Those of the writer, when a row group is full.
    pub fn row(&mut self, row: &Row<'_>, packets: &[Element]) -> Result<(), ParquetError> {
        self.columns.push(row, packets);
        if self.columns.flows >= GROUP_FLOWS { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.columns.flows == 0 {
            return Ok(());
        }
        let columns = std::mem::take(&mut self.columns);
        let mut group = self.file.next_row_group()?;
        columns.write(&mut group)?;
        group.close().map(drop)
    }

    /// Writes the rest and the footer, without which the file cannot be read.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> Result<(), ParquetError> {
        self.write_group()?;
        self.file.close().map(drop)
    }
}
