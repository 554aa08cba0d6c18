internal import StoredNumbers

/// The experts of gpt-oss, stored in a layout of their own, as other mixtures have them: matrices [experts,
/// outputs, inputs] of gate, up and down, and biases [experts, outputs].
///
/// Files hold gate and up in one tensor, output 2i a gate's and output 2i + 1 an up's. In floats the matrices lie
/// transposed: `gate_up_proj` [experts, hidden, 2 * intermediate], `down_proj` [experts, intermediate, hidden].
/// In MXFP4 they do not: `gate_up_proj_blocks` [experts, 2 * intermediate, hidden / 32, 16] of bytes and
/// `gate_up_proj_scales` [experts, 2 * intermediate, hidden / 32]. Byte b of a block holds the elements 2b and
/// 2b + 1 there, and b and b + 16 in `BlockFormat.mxfp4`, which the blocks are re-laid to: nothing is
/// widened or rounded. Tensors are re-laid when their bytes are first used, and take memory of their own then.
///
/// Source: transformers, `models/gpt_oss` and `integrations/mxfp4.py`.
struct StoredExperts {
  private let files: WeightFiles

  init(_ files: WeightFiles) { self.files = files }

  /// Where a tensor of this name is made from; nil for a name that is no expert's.
  private struct Projection {
    /// The stored tensor's name without what follows `proj`.
    let stem: String
    /// Its outputs that are wanted: the first, and the distance to the next.
    let first: Int
    let step: Int
    let isBias: Bool

    init?(_ name: String) {
      for (projection, stored, first, step) in [
        ("gate_proj", "gate_up_proj", 0, 2), ("up_proj", "gate_up_proj", 1, 2),
        ("down_proj", "down_proj", 0, 1),
      ] {
        for kind in [".weight", ".bias"] {
          let end = ".mlp.experts." + projection + kind
          guard name.hasSuffix(end) else { continue }
          stem = name.dropLast(end.count) + ".mlp.experts." + stored
          self.first = first
          self.step = step
          isBias = kind == ".bias"
          return
        }
      }
      return nil
    }
  }

  /// The names of tensors with those of experts in place of what they are made from, ascending.
  func names(inPlaceOf stored: [String]) -> [String] {
    stored.flatMap { name -> [String] in
      for (projection, parts) in [
        ("gate_up_proj", ["gate_proj", "up_proj"]), ("down_proj", ["down_proj"]),
      ] {
        for (end, kind) in [
          ("", ".weight"), ("_blocks", ".weight"), ("_bias", ".bias"), ("_scales", nil),
        ] as [(String, String?)] {
          let suffix = ".mlp.experts." + projection + end
          guard name.hasSuffix(suffix) else { continue }
          guard let kind else { return [] }
          return parts.map { name.dropLast(suffix.count) + ".mlp.experts." + $0 + kind }
        }
      }
      return [name]
    }.sorted()
  }

  /// Whether the files hold what a tensor of this name is made from.
  func contains(_ name: String) -> Bool {
    guard let projection = Projection(name) else { return false }
    if projection.isBias { return files.contains(projection.stem + "_bias") }
    return files.contains(projection.stem) || files.contains(projection.stem + "_blocks")
  }

  /// The tensor of this name; nil where it is no expert's, or what it is made from is not there.
  ///
  /// - Throws: `.malformedTensor`, `.misshapenTensor`, `.unsupportedElementType`; what is wrong with the file.
  func tensor(named name: String) throws(CheckpointError) -> TensorView? {
    guard let projection = Projection(name) else { return nil }
    if projection.isBias {
      guard let whole = try files.tensor(named: projection.stem + "_bias") else { return nil }
      return try bias(name, projection, whole)
    }
    if let whole = try files.tensor(named: projection.stem) {
      return try transposed(name, projection, whole)
    }
    guard let blocks = try files.bytes(named: projection.stem + "_blocks") else { return nil }
    guard let scales = try files.bytes(named: projection.stem + "_scales") else {
      throw .malformedTensor(
        file: blocks.file, tensor: blocks.name, problem: "is there without its scales")
    }
    return try relaid(name, projection, blocks, scales)
  }

  private func bias(
    _ name: String, _ projection: Projection, _ whole: TensorView
  ) throws(CheckpointError) -> TensorView {
    let (experts, outputs, element) = try extents(whole, projection, axes: 2)
    let (first, step) = (projection.first, projection.step)
    return whole.converted(
      name: name, format: whole.format, shape: [experts, outputs],
      byteCount: experts * outputs * element
    ) { source, target in
      transpose(
        source, rows: 1, columns: experts * outputs * step, first: first, step: step,
        elementBytes: element, into: target)
    }
  }

  private func transposed(
    _ name: String, _ projection: Projection, _ whole: TensorView
  ) throws(CheckpointError) -> TensorView {
    let (experts, outputs, element) = try extents(whole, projection, axes: 3)
    let inputs = whole.shape[1]
    let (first, step) = (projection.first, projection.step)
    let matrix = inputs * outputs * element
    return whole.converted(
      name: name, format: whole.format, shape: [experts, outputs, inputs],
      byteCount: experts * matrix
    ) { source, target in
      for expert in 0..<experts {
        let stored = expert * matrix * step..<(expert + 1) * matrix * step
        transpose(
          UnsafeRawBufferPointer(rebasing: source[stored]), rows: inputs,
          columns: outputs * step, first: first, step: step, elementBytes: element,
          into: UnsafeMutableRawBufferPointer(
            rebasing: target[expert * matrix..<(expert + 1) * matrix]))
      }
    }
  }

  /// Experts, outputs of one that are wanted, and bytes of an element.
  private func extents(
    _ whole: TensorView, _ projection: Projection, axes: Int
  ) throws(CheckpointError) -> (experts: Int, outputs: Int, elementBytes: Int) {
    guard case .dense(let element) = whole.format else {
      throw .unsupportedElementType(file: whole.file, name: whole.name, found: "F8_E4M3")
    }
    guard whole.shape.count == axes, let last = whole.shape.last, last % projection.step == 0 else {
      throw .malformedTensor(
        file: whole.file, tensor: whole.name,
        problem: "has shape \(whole.shape), not \(axes) extents of which the last is gates and ups")
    }
    return (whole.shape[0], last / projection.step, element.byteCount)
  }

  private func relaid(
    _ name: String, _ projection: Projection, _ blocks: StoredBytes, _ scales: StoredBytes
  ) throws(CheckpointError) -> TensorView {
    let (shape, step, first) = (blocks.shape, projection.step, projection.first)
    guard shape.count == 4, shape[3] == MXFP4Layout.blockBytes, shape[1] % step == 0,
      scales.shape == Array(shape.dropLast())
    else {
      throw .malformedTensor(
        file: blocks.file, tensor: blocks.name,
        problem: "has shape \(shape) and scales \(scales.shape), not [experts, outputs, blocks, "
          + "\(MXFP4Layout.blockBytes)] and a scale for each block")
    }
    let (outputs, blocksOfRow) = (shape[1] / step, shape[2])
    let rows = shape[0] * outputs
    let target = MXFP4Layout.blockBytes + 1
    return TensorView(
      name: name, format: .blocks(.mxfp4),
      shape: [shape[0], outputs, blocksOfRow * MXFP4Layout.elements], file: blocks.file,
      storage: ConvertedBytes(
        byteCount: rows * blocksOfRow * target, stored: { blocks.bytes }
      ) { memory in
        let (elements, exponents) = (blocks.bytes, scales.bytes)
        guard let elements = elements.baseAddress, let exponents = exponents.baseAddress,
          let memory = memory.baseAddress
        else { return }
        for row in 0..<rows {
          let stored = (row * step + first) * blocksOfRow
          MXFP4Layout.relay(
            elements + stored * MXFP4Layout.blockBytes, exponents + stored, blocks: blocksOfRow,
            into: memory + row * blocksOfRow * target)
        }
      }, range: 0..<rows * blocksOfRow * target)
  }
}

/// Blocks of MXFP4 as gpt-oss checkpoints hold them, and as GGUF files do.
enum MXFP4Layout {
  /// Elements of a block, and bytes of them.
  static let elements = 32
  static let blockBytes = 16

  /// Consecutive blocks of a row, each behind its exponent, byte b holding the elements b and b + 16 in place
  /// of 2b and 2b + 1.
  static func relay(
    _ source: UnsafeRawPointer, _ exponents: UnsafeRawPointer, blocks: Int,
    into target: UnsafeMutableRawPointer
  ) {
    for block in 0..<blocks {
      let stored = source + block * blockBytes
      // The elements 0, 2, .. 14 are the low halves of the first eight bytes, 16, 18, .. of the second eight.
      let first = stored.loadUnaligned(as: SIMD8<UInt8>.self)
      let second = stored.loadUnaligned(fromByteOffset: 8, as: SIMD8<UInt8>.self)
      var bytes = SIMD16<UInt8>()
      bytes.evenHalf = (first & 0x0F) | (second &<< 4)
      bytes.oddHalf = (first &>> 4) | (second & 0xF0)
      let place = target + block * (blockBytes + 1)
      place.storeBytes(of: exponents.load(fromByteOffset: block, as: UInt8.self), as: UInt8.self)
      (place + 1).storeBytes(of: bytes, as: SIMD16<UInt8>.self)
    }
  }
}

/// Columns first, first + step, ... of a matrix, as the rows of another.
private func transpose(
  _ source: UnsafeRawBufferPointer, rows: Int, columns: Int, first: Int, step: Int,
  elementBytes: Int, into target: UnsafeMutableRawBufferPointer
) {
  func transpose<Word: BitwiseCopyable>(_ type: Word.Type) {
    guard let from = source.baseAddress?.assumingMemoryBound(to: Word.self),
      let to = target.baseAddress?.assumingMemoryBound(to: Word.self)
    else { return }
    let outputs = columns / step
    // Squares whose lines of both sides stay in a cache.
    let side = 32
    for firstRow in stride(from: 0, to: rows, by: side) {
      for firstOutput in stride(from: 0, to: outputs, by: side) {
        for output in firstOutput..<min(firstOutput + side, outputs) {
          for row in firstRow..<min(firstRow + side, rows) {
            to[output * rows + row] = from[row * columns + first + output * step]
          }
        }
      }
    }
  }
  if elementBytes == 4 { transpose(UInt32.self) } else { transpose(UInt16.self) }
}
