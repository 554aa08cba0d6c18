import StoredNumbers

extension ReferenceBackend {
  public func makeTensor(_ type: DataType, _ shape: [Int], purpose: String) throws -> Tensor {
    try require(shape.allSatisfy { $0 >= 0 }, "makeTensor", "shape \(shape) for \(purpose)")
    let byteCount = shape.reduce(type.byteCount, *)
    return Tensor(buffer: HostBuffer(byteCount: byteCount), type: type, shape: shape)
  }

  /// Stored weights stay as they are, whatever they are for: every float type is read exactly. Blocks are
  /// decoded by their definition, and rounded to float32.
  public func prepare(_ stored: StoredTensor, as role: WeightRole) throws -> Weight {
    if case .blocks(let format) = stored.format {
      let numbers = try makeTensor(.float32, stored.shape, purpose: "weights")
      try store(format.decodedRow(stored.bytes), in: numbers)
      return Weight(numbers)
    }
    if let values = stored.float8Numbers {
      let numbers = try makeTensor(.float32, stored.shape, purpose: "weights")
      try store(values, in: numbers)
      return Weight(numbers)
    }
    _ = try stored.denseType(on: self)
    return Weight(
      storage: HostBuffer(borrowing: stored.bytes, owner: stored.owner), format: stored.format,
      shape: stored.shape)
  }

  public func prepare(_ numbers: Tensor, as role: WeightRole) -> Weight { Weight(numbers) }

  public func read(_ tensor: Tensor) throws -> [Float] {
    try doubles(tensor).map { Float($0) }
  }

  public func write(_ values: [Float], to tensor: Tensor) throws {
    try require(
      [.float32, .bfloat16, .float8].contains(tensor.type) && values.count == tensor.count, "write",
      "\(values.count) values for \(tensor.type) \(tensor.shape)")
    try store(values.map { Double($0) }, in: tensor)
  }

  public func makeStagingMemory(byteCount: Int, purpose: String) -> any StagingMemory {
    HostStagingMemory(byteCount)
  }

  public func copy(_ parts: [StagedPart], to memory: any StagingMemory) throws {
    for part in parts {
      try memory.bytes(of: part, "copy").copyMemory(
        from: UnsafeRawBufferPointer(
          start: try hostStart(of: part.tensor), count: part.tensor.byteCount))
    }
  }

  public func copy(_ memory: any StagingMemory, to parts: [StagedPart]) throws {
    for part in parts {
      try hostStart(of: part.tensor).copyMemory(
        from: memory.start + part.offset, byteCount: try memory.bytes(of: part, "copy").count)
    }
  }

  public func gatherRows(_ x: Tensor, rows: [Int32], into y: Tensor) throws {
    try requireGather(x, rows: rows, into: y)
    try store(try rows.flatMap { try doubles(x.slice(rows: Int($0)..<Int($0) + 1)) }, in: y)
  }

  /// All elements, in order; exact, as Double holds every value of every ``DataType``.
  func doubles(_ tensor: Tensor) throws -> [Double] {
    let start = try hostStart(of: tensor)
    return (0..<tensor.count).map { index in
      let place = start + index * tensor.type.byteCount
      switch tensor.type {
      case .float32: return Double(place.loadUnaligned(as: Float.self))
      case .int32: return Double(place.loadUnaligned(as: Int32.self))
      case .bfloat16: return Double(bfloat16Bits: place.loadUnaligned(as: UInt16.self))
      case .float16: return Double(float16Bits: place.loadUnaligned(as: UInt16.self))
      case .float8: return Double(float8Bits: place.load(as: UInt8.self))
      }
    }
  }

  /// Writes all elements of a float32, bfloat16 or float8 tensor, each rounded once, to nearest or even.
  func store(_ values: [Double], in tensor: Tensor) throws {
    try require(values.count == tensor.count, "store", "\(values.count) values, \(tensor.shape)")
    let start = try hostStart(of: tensor)
    for (index, value) in values.enumerated() {
      let place = start + index * tensor.type.byteCount
      switch tensor.type {
      case .float32: place.storeBytes(of: Float(value), as: Float.self)
      case .bfloat16: place.storeBytes(of: Float(value).bfloat16Bits, as: UInt16.self)
      case .float8: place.storeBytes(of: value.float8Bits, as: UInt8.self)
      case .float16, .int32:
        throw ComputeError.shapeMismatch(
          operation: "store", detail: "\(tensor.type) is read but not written")
      }
    }
  }

  /// Writes all elements of an int32 tensor.
  func store(integers values: [Int32], in tensor: Tensor) throws {
    try require(
      values.count == tensor.count && tensor.type == .int32, "store",
      "\(values.count) integers, \(tensor.type) \(tensor.shape)")
    let start = try hostStart(of: tensor)
    for (index, value) in values.enumerated() {
      (start + index * tensor.type.byteCount).storeBytes(of: value, as: Int32.self)
    }
  }

  private func hostStart(of tensor: Tensor) throws -> UnsafeMutableRawPointer {
    guard let buffer = tensor.buffer as? HostBuffer else {
      throw ComputeError.shapeMismatch(
        operation: "reference backend", detail: "the tensor belongs to another backend")
    }
    return buffer.start + tensor.byteOffset
  }
}
