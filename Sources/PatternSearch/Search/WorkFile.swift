import Checkpoints

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif
#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a search's results depend on; results of another search are not mixed in.
struct SearchIdentity: Codable, Equatable {
  var version = 3
  /// Of the weights.
  var model: String
  var layers: Int
  var heads: Int
  var device: String
  /// Of names and budgets of the candidates.
  var candidates: String
  /// Of each sample's ids.
  var samples: [String]
  var chunk: Int?
  var keyValueType: String
  var columnsThatFillTile: Int?
  var denseBelow: Int

  /// The first thing in which two differ, in words; nil: nothing.
  func difference(from other: SearchIdentity) -> String? {
    if version != other.version { return "version" }
    if model != other.model || layers != other.layers || heads != other.heads { return "model" }
    if device != other.device { return "device" }
    if candidates != other.candidates { return "space of candidates" }
    if samples != other.samples { return "samples or lengths" }
    if chunk != other.chunk { return "chunk" }
    return self == other ? nil : "setting"
  }
}

/// One line of a work file.
enum WorkEntry: Codable {
  case identity(SearchIdentity)
  case calibration(CostModel)
  /// [head][candidate] of a layer.
  case layer(sample: Int, layer: Int, [[CandidateMeasurement]])
}

/// The results of a search so far, as JSON lines, each with a checksum; a line that was being written
/// when the search was interrupted is dropped.
///
/// Beside it lies FILE.hidden with the hidden states before the next layer of the sample that is
/// being measured, so that a search goes on there and not at the sample's first layer.
struct WorkFile {
  let path: String
  private(set) var entries: [WorkEntry] = []

  private static let prefix = "{\"checksum\":\""
  private static let middle = "\",\"entry\":"

  /// Opens the file, or begins one if there is none.
  ///
  /// - Throws: ``SearchError/foreignWorkFile(file:what:)`` if it belongs to another search.
  init(path: String, identity: SearchIdentity) throws {
    self.path = path
    if let data = try? Data(contentsOf: URL(filePath: path)) {
      for line in String(decoding: data, as: UTF8.self).split(separator: "\n") {
        guard let entry = Self.decode(line) else { break }
        entries.append(entry)
      }
      guard !entries.isEmpty || data.isEmpty else {
        throw SearchError.workFile(
          file: path, reason: "is no work file of a search")
      }
    }
    if case .identity(let found)? = entries.first {
      if let what = identity.difference(from: found) {
        throw SearchError.foreignWorkFile(file: path, what: what)
      }
      // What follows a damaged line would be lost behind it.
      try write(entries.map(Self.encode).joined(), mode: "w")
    } else {
      try write("", mode: "w")
      entries = []
      try append(.identity(identity))
    }
  }

  /// Adds an entry; it is in the file when this returns.
  mutating func append(_ entry: WorkEntry) throws {
    try write(try Self.encode(entry), mode: "a")
    entries.append(entry)
  }

  /// The layers of a sample that are there, from the first without a gap.
  func layers(ofSample sample: Int) -> [[[CandidateMeasurement]]] {
    var found: [[[CandidateMeasurement]]] = []
    for case .layer(sample, let layer, let heads) in entries where layer == found.count {
      found.append(heads)
    }
    return found
  }

  var calibration: CostModel? {
    for case .calibration(let model) in entries { return model }
    return nil
  }

  private static func encode(_ entry: WorkEntry) throws -> String {
    let text = String(decoding: try JSONEncoder().encode(entry), as: UTF8.self)
    return prefix + Fingerprint.of(text) + middle + text + "}\n"
  }

  private static func decode(_ line: Substring) -> WorkEntry? {
    let line = line.utf8
    let start = prefix.utf8.count
    guard line.count > start + 16 + middle.utf8.count + 1, line.starts(with: prefix.utf8),
      line.last == UInt8(ascii: "}")
    else { return nil }
    let checksum = String(Substring(line.dropFirst(start).prefix(16)))
    let text = String(
      Substring(line.dropFirst(start + 16 + middle.utf8.count).dropLast()))
    guard checksum == Fingerprint.of(text) else { return nil }
    return try? JSONDecoder().decode(WorkEntry.self, from: Data(text.utf8))
  }

  private func write(_ text: String, mode: String) throws {
    func fail() -> SearchError {
      .workFile(
        file: path,
        reason:
          "cannot be written (\(String(cString: strerror(errno))))")
    }
    guard let file = fopen(path, mode) else { throw fail() }
    let bytes = Array(text.utf8)
    let written = fwrite(bytes, 1, bytes.count, file)
    let closed = fclose(file)
    guard written == bytes.count, closed == 0 else { throw fail() }
  }
}

// MARK: Hidden states

extension WorkFile {
  private var hiddenPath: String { path + ".hidden" }

  /// Keeps the hidden states before a layer of a sample, in place of earlier ones.
  func keepHiddenStates(_ states: [Float], sample: Int, layer: Int) throws {
    var data = Data()
    for number in [sample, layer, states.count] {
      withUnsafeBytes(of: Int64(number).littleEndian) { data.append(contentsOf: $0) }
    }
    states.withUnsafeBytes { bytes in
      var checksum = Fingerprint()
      checksum.add(
        UnsafeRawBufferPointer(rebasing: bytes[max(0, bytes.count - 4096)...]))
      withUnsafeBytes(of: checksum.value.littleEndian) { data.append(contentsOf: $0) }
      data.append(contentsOf: bytes)
    }
    do {
      try data.write(to: URL(filePath: hiddenPath), options: .atomic)
    } catch {
      throw SearchError.workFile(
        file: hiddenPath, reason: "cannot be written")
    }
  }

  /// The hidden states before a layer of a sample, if they are there and whole.
  func hiddenStates(sample: Int, layer: Int, count: Int) -> [Float]? {
    guard let data = try? Data(contentsOf: URL(filePath: hiddenPath)),
      data.count == 32 + 4 * count
    else { return nil }
    return data.withUnsafeBytes { bytes in
      let header = (0..<4).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self) }
      guard header[0] == sample, header[1] == layer, header[2] == count else { return nil }
      let payload = UnsafeRawBufferPointer(rebasing: bytes[32...])
      var checksum = Fingerprint()
      checksum.add(UnsafeRawBufferPointer(rebasing: payload[max(0, payload.count - 4096)...]))
      guard checksum.value == UInt64(bitPattern: header[3]) else { return nil }
      return (0..<count).map { payload.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }

  func removeHiddenStates() { unlink(hiddenPath) }
}
