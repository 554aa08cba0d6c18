import Files

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a search's results depend on; results of another search are not mixed in.
struct SearchIdentity: Codable, Equatable {
  var version = 4
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
  /// A dense reading, of a sample that chooses or that validates.
  case dense(sample: Int, isValidating: Bool, StoredReading)
  /// What the heads of the probed sample lose, and the seconds that measuring it took.
  case probes(HeadProbes, seconds: Double)
  /// A reading under a choice, named by the fingerprint of its patterns.
  case reading(
    choice: String, sample: Int, isValidating: Bool, share: Double, SparseReading, seconds: Double)
}

/// The results of a search so far, as JSON lines, each with a checksum. A line that was being written
/// when the search was interrupted, is damaged, or does not fit the model is passed over. The file only ever grows, and while
/// one search writes it no other does.
///
/// Beside it lies FILE.hidden with the hidden states before the next layer of the sample that is
/// being measured, so that a search goes on there and not at the sample's first layer.
struct WorkFile {
  let path: String
  private let file: AppendedFile
  private(set) var entries: [WorkEntry] = []

  private static let prefix = "{\"checksum\":\""
  private static let middle = "\",\"entry\":"

  /// Opens the file, or begins one if there is none.
  ///
  /// - Throws: ``SearchError/foreignWorkFile(file:what:)`` if it belongs to another search,
  ///   ``SearchError/workFile(file:reason:)`` if it is none, or cannot be read or written.
  /// - Parameter candidates: How many are measured in each head.
  init(path: String, identity: SearchIdentity, candidates: Int) throws {
    self.path = path
    let bytes: [UInt8]
    do {
      file = try AppendedFile(path: path)
      bytes = try file.contents()
    } catch {
      throw Self.failure(error, "opened")
    }
    guard !Self.isNothing(bytes) else {
      // Of a file that was interrupted in its first line nothing is of use.
      if !bytes.isEmpty { try change { file throws(FileError) in try file.removeEnd(from: 0) } }
      try append(.identity(identity))
      return
    }
    let shape = WorkShape(
      layers: identity.layers, heads: identity.heads, candidates: candidates)
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      if let entry = Self.decode(line), shape.holds(entry) { entries.append(entry) }
    }
    guard case .identity(let found)? = entries.first else {
      throw SearchError.workFile(
        file: path, reason: "is no work file of a search")
    }
    if let what = identity.difference(from: found) {
      throw SearchError.foreignWorkFile(file: path, what: what)
    }
    if bytes.last != UInt8(ascii: "\n") {
      try change { file throws(FileError) in try file.append([UInt8(ascii: "\n")]) }
    }
  }

  /// Whether a file is empty, or holds no more than the beginning of a first line.
  private static func isNothing(_ bytes: [UInt8]) -> Bool {
    guard !bytes.contains(UInt8(ascii: "\n")) else { return false }
    return bytes.prefix(prefix.utf8.count).elementsEqual(prefix.utf8.prefix(bytes.count))
  }

  /// Adds an entry; it is in the file when this returns.
  mutating func append(_ entry: WorkEntry) throws {
    let line = Array(try Self.encode(entry).utf8)
    try change { file throws(FileError) in try file.append(line) }
    entries.append(entry)
  }

  private func change(_ body: (AppendedFile) throws(FileError) -> Void) throws {
    do {
      try body(file)
    } catch {
      throw Self.failure(error, "written")
    }
  }

  private static func failure(_ error: FileError, _ what: String) -> SearchError {
    .workFile(
      file: error.path,
      reason: error.problem == .inUse
        ? "is written by another search at this moment; wait for it"
        : "cannot be \(what) (\(error.reason))")
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

  private static func decode(_ line: ArraySlice<UInt8>) -> WorkEntry? {
    // What passed through another system may have ends of lines of two characters.
    let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    let start = prefix.utf8.count
    guard line.count > start + 16 + middle.utf8.count + 1, line.starts(with: prefix.utf8),
      line.last == UInt8(ascii: "}")
    else { return nil }
    let text = line.dropFirst(start + 16 + middle.utf8.count).dropLast()
    let checksum = Fingerprint.of(String(decoding: text, as: UTF8.self))
    guard line.dropFirst(start).prefix(16).elementsEqual(checksum.utf8) else { return nil }
    return try? JSONDecoder().decode(WorkEntry.self, from: Data(text))
  }
}

// MARK: Hidden states

extension WorkFile {
  private var hiddenPath: String { path + ".hidden" }

  /// Keeps the hidden states before a layer of a sample, in place of earlier ones.
  func keepHiddenStates(_ states: [Float], sample: Int, layer: Int) throws {
    do throws(FileError) {
      let replacement = try FileReplacement(path: hiddenPath)
      let result = states.withUnsafeBytes { bytes in
        Result { () throws(FileError) in
          let header = [sample, layer, states.count].map(Int64.init) + [Self.checksum(bytes)]
          let written = header.map(\.littleEndian).withUnsafeBytes { header in
            Result { () throws(FileError) in try replacement.write(header) }
          }
          try written.get()
          try replacement.write(bytes)
        }
      }
      try result.get()
      try replacement.commit()
    } catch {
      throw SearchError.workFile(
        file: hiddenPath,
        reason: "cannot be written (\(error.reason)); free space")
    }
  }

  /// The hidden states before a layer of a sample, if they are there and whole.
  func hiddenStates(sample: Int, layer: Int, count: Int) -> [Float]? {
    guard let file = try? MappedFile(path: hiddenPath), file.count == 32 + 4 * count else {
      return nil
    }
    let bytes = file.bytes
    let header = (0..<4).map {
      Int64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self))
    }
    let payload = UnsafeRawBufferPointer(rebasing: bytes[32...])
    guard header == [Int64(sample), Int64(layer), Int64(count), Self.checksum(payload)] else {
      return nil
    }
    return [Float](unsafeUninitializedCapacity: count) { buffer, used in
      UnsafeMutableRawBufferPointer(buffer).copyMemory(from: payload)
      used = count
    }
  }

  /// FNV-1a over words of eight bytes, of everything: states take gigabytes, and bytes take eight
  /// times as long.
  private static func checksum(_ bytes: UnsafeRawBufferPointer) -> Int64 {
    var checksum = Fingerprint()
    checksum.add(words: bytes)
    return Int64(bitPattern: checksum.value)
  }

  func removeHiddenStates() { WholeFile.remove(hiddenPath) }
}
