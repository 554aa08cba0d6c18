import Checkpoints
import Testing

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Which files of a directory count, and that the others do not matter.
@Suite struct WeightFilesTests {
  private let whole = "model.safetensors"
  private let index = "model.safetensors.index.json"

  private func tensor(_ name: String, _ value: Float) -> SafetensorsWriter.Tensor {
    .init(name: name, shape: [2], floats: [value, value])
  }

  private func directory() throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory()
    try directory.write(configurationText(), to: "config.json")
    return directory
  }

  /// Files that no reader can open, or that hold what no model needs.
  private func litter(_ directory: TemporaryDirectory) throws {
    try directory.write("", to: "empty.safetensors")
    try directory.write("no header here", to: "junk.safetensors")
    try directory.write(
      [.init(name: "step", storedType: "I64", shape: [1], bytes: Array(repeating: 1, count: 8))],
      to: "optimizer.safetensors")
    try FileManager.default.createDirectory(
      atPath: directory.path(of: "folder.safetensors"), withIntermediateDirectories: false)
    try FileManager.default.createSymbolicLink(
      atPath: directory.path(of: "dangling.safetensors"), withDestinationPath: "nowhere")
  }

  @Test func `A whole file wins over an index, stale or damaged, and a notice says so`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: whole)
    #expect(try Checkpoint(directory: directory.path).notices == [])
    try directory.write([tensor("a", 2)], to: "model-00001-of-00002.safetensors")
    for text in [
      #"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#,
      #"{"weight_map": {"a": "gone.safetensors"}}"#, "{", "",
    ] {
      try directory.write(text, to: index)
      let checkpoint = try Checkpoint(directory: directory.path)
      #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
      #expect(checkpoint.files.map(\.path) == [directory.path(of: whole)])
      #expect(checkpoint.notices.count == 1 && checkpoint.notices[0].contains(index))
    }
  }

  @Test func `The file or index that config.json names wins over all`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: whole)
    try directory.write([tensor("a", 2)], to: "other.safetensors")
    try directory.write(#"{"weight_map": {"a": "other.safetensors"}}"#, to: "x.index.json")
    for named in ["other.safetensors", "x.index.json"] {
      try directory.write(
        configurationText(["transformers_weights": "\"\(named)\""]), to: "config.json")
      let checkpoint = try Checkpoint(directory: directory.path)
      #expect(try checkpoint.tensor(named: "a").floats() == [2, 2])
      #expect(checkpoint.notices == [])
    }
    for absent in ["gone.safetensors", "../other.safetensors", "../x.index.json"] {
      try directory.write(
        configurationText(["transformers_weights": "\"\(absent)\""]), to: "config.json")
      let error = failure { () throws(CheckpointError) in
        try Checkpoint(directory: directory.path)
      }
      #expect(isOneLine(error, naming: "config.json", absent))
    }
  }

  @Test func `What no index names does not matter`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "one.safetensors")
    try directory.write([tensor("a", 2)], to: "consolidated.safetensors")
    try litter(directory)
    try directory.write(#"{"weight_map": {"a": "one.safetensors"}}"#, to: index)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    #expect(checkpoint.tensorNames == ["a"] && checkpoint.files.count == 1)
    #expect(checkpoint.notices == [])
    try checkpoint.verifyUnchanged()
  }

  @Test func `Beside a whole file nothing else matters`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: whole)
    try directory.write([tensor("a", 2), tensor("b", 2)], to: "consolidated.safetensors")
    try litter(directory)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    #expect(checkpoint.byteCount == checkpoint.files[0].byteCount && checkpoint.files.count == 1)
  }

  @Test func `Without index the one complete set of shards counts, and others do not matter`()
    throws
  {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model-00001-of-00002.safetensors")
    try directory.write([tensor("b", 2)], to: "model-00002-of-00002.safetensors")
    try directory.write([tensor("a", 5)], to: "model-00001-of-00003.safetensors")
    try directory.write([tensor("b", 6)], to: "consolidated.safetensors")
    try litter(directory)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    #expect(try checkpoint.tensor(named: "b").floats() == [2, 2])
    #expect(checkpoint.files.count == 2)
  }

  @Test func `Files without index or numbers count together, but for those that cannot be opened`()
    throws
  {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "x.safetensors")
    try directory.write([tensor("b", 2)], to: "y.safetensors")
    try litter(directory)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "b").floats() == [2, 2])
    // A tensor that is nowhere may be in a file that cannot be opened.
    let error = failure { () throws(CheckpointError) in try checkpoint.tensor(named: "c") }
    #expect(isOneLine(error, naming: ".safetensors"))
    #expect(error != nil)
  }

  @Test func `A second copy of the same bytes is no contradiction`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1), tensor("b", 3)], to: "x.safetensors")
    try directory.write([tensor("b", 4), tensor("a", 1)], to: "y.safetensors")
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    let error = failure { () throws(CheckpointError) in try checkpoint.tensor(named: "b") }
    #expect(isOneLine(error, naming: "x.safetensors", "y.safetensors", "\"b\""))
  }

  @Test func `An index of shards that were cut anew finds the tensors where they are now`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "model-00001-of-00002.safetensors")
    try directory.write([tensor("b", 2)], to: "model-00002-of-00002.safetensors")
    try directory.write(
      #"{"weight_map": {"a": "model-00001-of-00004.safetensors", "#
        + #""b": "model-00002-of-00004.safetensors", "c": "model-00003-of-00004.safetensors"}}"#,
      to: index)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    #expect(try checkpoint.tensor(named: "b").floats() == [2, 2])
    #expect(checkpoint.notices.count == 2)
    let error = failure { () throws(CheckpointError) in try checkpoint.tensor(named: "c") }
    #expect(isOneLine(error, naming: index, "model-00003-of-00004.safetensors"))
  }

  @Test func `A shard that is missing is asked for only by a tensor that is in it`() throws {
    let directory = try directory()
    try directory.write([tensor("a", 1)], to: "one.safetensors")
    try directory.write("damaged", to: "two.safetensors")
    try directory.write(
      #"{"weight_map": {"a": "one.safetensors", "b": "two.safetensors", "c": "three.safetensors"}}"#,
      to: index)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    let damaged = failure { () throws(CheckpointError) in try checkpoint.tensor(named: "b") }
    #expect(isOneLine(damaged, naming: "two.safetensors", "7 bytes"))
    let missing = failure { () throws(CheckpointError) in try checkpoint.tensor(named: "c") }
    #expect(isOneLine(missing, naming: index, "three.safetensors"))
  }

  @Test func `Tensors of any type that nobody asks for may lie beside those that count`() throws {
    let types = [
      "BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64", "F64", "C64", "F8_E5M2",
      "F8_E4M3FNUZ", "F8_E8M0", "F99",
    ]
    let bytes = [
      "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8, "F99": 3,
    ]
    let directory = try directory()
    try directory.write(
      types.map { type in
        .init(
          name: type, storedType: type, shape: [1],
          bytes: Array(repeating: 0xFF, count: bytes[type] ?? 1))
      } + [tensor("a", 1)], to: whole)
    let checkpoint = try Checkpoint(directory: directory.path)
    #expect(try checkpoint.tensor(named: "a").floats() == [1, 1])
    for type in types {
      let error = failure { () throws(CheckpointError) in try checkpoint.tensor(named: type) }
      #expect(isOneLine(error, naming: whole, type))
    }
    #expect(try checkpoint.fingerprint(of: ["a"]).count == 16)
  }
}

/// Headers without padding and tensors at any byte.
@Suite struct UnalignedTensorTests {
  private let values: [Float] = [1, -2.5, 3, 61_440, 0.25]

  /// The bytes of a file whose data begin `shift` bytes past a multiple of eight.
  private func bytes(shift: Int, _ type: ElementType) -> [UInt8] {
    let tensor = SafetensorsWriter.Tensor(name: "t", shape: [5], floats: values, as: type)
    let size = tensor.bytes.count
    var header =
      "{\"o\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},\"t\":{\"dtype\":"
      + "\"\(type.rawValue)\",\"shape\":[5],\"data_offsets\":[1,\(size + 1)]}}"
    while (header.utf8.count + 8) % 8 != shift { header += " " }
    let length = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
    return length + Array(header.utf8) + [7] + tensor.bytes
  }

  @Test(arguments: ElementType.allCases, 0..<8)
  func `Tensors at any byte hold their values at an address that fits them`(
    type: ElementType, shift: Int
  ) throws {
    let directory = try TemporaryDirectory()
    let path = directory.path(of: "a.safetensors")
    try SafetensorsWriter.write(bytes: bytes(shift: shift, type), to: path)
    let tensor = try #require(try SafetensorsFile(path: path).tensor(named: "t"))
    #expect(tensor.floats() == values)
    #expect(UInt(bitPattern: tensor.bytes.baseAddress) % UInt(type.byteCount) == 0)
    #expect(tensor.firstNonFiniteIndex() == nil)
    #expect(tensor.byteCount == 5 * type.byteCount)
  }

  @Test func `A fingerprint does not depend on where a tensor lies`() throws {
    let directory = try TemporaryDirectory()
    try directory.write(configurationText(), to: "config.json")
    let prints = try (0..<4).map { shift in
      try SafetensorsWriter.write(
        bytes: bytes(shift: shift, .bfloat16), to: directory.path(of: "model.safetensors"))
      return try Checkpoint(directory: directory.path).fingerprint(of: ["t"])
    }
    #expect(Set(prints).count == 1)
  }
}
