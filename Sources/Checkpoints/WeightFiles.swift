import JSON
internal import Synchronization

/// Which file of a directory holds which tensor.
///
/// The files that count are those that transformers opens: the file or index that `transformers_weights`
/// of config.json names, else `model.safetensors` if there is one, else what
/// `model.safetensors.index.json` names. Without either, which transformers refuses, they are the
/// shards of a complete set NAME-00001-of-0000N, else all `*.safetensors`. Other files are opened
/// only when a tensor is asked for that those do not hold, and a notice says so.
///
/// A file that is missing or damaged is reported when a tensor is asked for that no other file holds.
/// Source: transformers 5.24, `modeling_utils.py`, `_get_resolved_checkpoint_files`.
final class WeightFiles: Sendable {
  /// One `*.safetensors` of the directory.
  private enum File: Sendable {
    case open(SafetensorsFile)
    /// What kept it from being opened.
    case failed(CheckpointError)
  }

  private struct State {
    /// Files that do not count, once they were needed.
    var others: [File]?
    /// Paths of the files that tensors were taken from.
    var used: Set<ByteString> = []
    /// For each file that does not count, how many tensors were taken from it.
    var taken: [ByteString: Int] = [:]
  }

  private let counting: [File]
  private let otherPaths: [String]
  private let index: ShardIndex?
  private let indexPath: String
  /// What the user should know of how the files were chosen.
  private let choice: String?
  /// For each tensor the files of ``files`` that hold it, in their order.
  private let holders: [ByteString: [Int]]
  /// In the order of their names.
  let files: [SafetensorsFile]
  private let state = Mutex(State())

  /// No files.
  init() {
    counting = []
    otherPaths = []
    index = nil
    indexPath = ""
    choice = nil
    holders = [:]
    files = []
  }

  /// Opens the files that count.
  ///
  /// - Parameter named: What `transformers_weights` says.
  /// - Throws: what is wrong with the index; of files, only where none can be opened and no other is
  ///   there.
  init(_ directory: CheckpointDirectory, named: String?) throws(CheckpointError) {
    let chosen = try Choice(directory, named: named)
    index = chosen.index
    indexPath = chosen.indexPath
    choice = chosen.notice
    otherPaths = chosen.otherPaths
    counting = chosen.paths.map(Self.open)
    files = counting.compactMap { if case .open(let file) = $0 { file } else { nil } }
    if files.isEmpty, otherPaths.isEmpty {
      if let failure = Self.firstFailure(counting) { throw failure }
      if let absent = index?.absentFile { throw .missingShard(index: indexPath, shard: absent) }
    }
    var holders: [ByteString: [Int]] = [:]
    for (number, file) in files.enumerated() {
      for name in file.tensorNames { holders[ByteString(name), default: []].append(number) }
    }
    self.holders = holders
  }

  var tensorNames: [String] { holders.keys.sorted().map(\.text) }

  /// Whether any file that can be opened holds a tensor of this name.
  func contains(_ name: String) -> Bool {
    holders[ByteString(name)] != nil || Self.opened(otherFiles()).contains { $0.contains(name) }
  }

  /// Those that tensors were taken from; all that count before any was.
  var filesInUse: [SafetensorsFile] {
    state.withLock { state in
      let all = files + Self.opened(state.others ?? [])
      return state.used.isEmpty ? files : all.filter { state.used.contains(ByteString($0.path)) }
    }
  }

  var notices: [String] {
    let taken = state.withLock { $0.taken }
    return (choice.map { [$0] } ?? [])
      + taken.keys.sorted().map { path in
        let count = taken[path] ?? 0
        return
          "\(printable(path.text)): holds \(count == 1 ? "a tensor" : "\(count) tensors") that the "
          + "model needs and that \(index == nil ? "the other files lack" : "the index leaves out")"
      }
  }

  /// The tensor; nil where no file holds it and none is missing or damaged.
  func tensor(named name: String) throws(CheckpointError) -> TensorView? {
    guard let file = try file(of: name) else { return nil }
    state.withLock { _ = $0.used.insert(ByteString(file.path)) }
    return try file.tensor(named: name)
  }

  /// The same of a tensor of bytes.
  func bytes(named name: String) throws(CheckpointError) -> StoredBytes? {
    guard let file = try file(of: name) else { return nil }
    state.withLock { _ = $0.used.insert(ByteString(file.path)) }
    return try file.bytes(named: name)
  }

  private func file(of name: String) throws(CheckpointError) -> SafetensorsFile? {
    let named = index?.file(of: name)
    if let numbers = holders[ByteString(name)] {
      let number = named.flatMap { named in
        numbers.first { haveSameBytes(pathComponent(files[$0].path), named) }
      }
      if let number { return files[number] }
      return try onlyOne(of: numbers.map { files[$0] }, holding: name)
    }
    let others = otherFiles()
    let candidates = Self.opened(others).filter { $0.contains(name) }
    if !candidates.isEmpty {
      let file = try onlyOne(of: candidates, holding: name)
      state.withLock { $0.taken[ByteString(file.path), default: 0] += 1 }
      return file
    }
    if let named, index?.lacks(named) == true {
      throw .missingShard(index: indexPath, shard: named)
    }
    if let failure = Self.firstFailure(counting) { throw failure }
    if let absent = index?.absentFile { throw .missingShard(index: indexPath, shard: absent) }
    return nil
  }

  /// The first of several files whose tensors of this name are the same.
  private func onlyOne(
    of candidates: [SafetensorsFile], holding name: String
  ) throws(CheckpointError) -> SafetensorsFile {
    for other in candidates.dropFirst() where !candidates[0].hasSameTensor(name, as: other) {
      throw .duplicateTensor(name: name, files: [candidates[0].path, other.path])
    }
    return candidates[0]
  }

  private func otherFiles() -> [File] {
    if let others = state.withLock({ $0.others }) { return others }
    let opened = otherPaths.map(Self.open)
    return state.withLock { state in
      let others = state.others ?? opened
      state.others = others
      return others
    }
  }

  private static func open(_ path: String) -> File {
    do {
      return .open(try SafetensorsFile(path: path))
    } catch {
      return .failed(error)
    }
  }

  private static func opened(_ files: [File]) -> [SafetensorsFile] {
    files.compactMap { if case .open(let file) = $0 { file } else { nil } }
  }

  private static func firstFailure(_ files: [File]) -> CheckpointError? {
    for case .failed(let error) in files { return error }
    return nil
  }
}

/// Which files of a directory count.
private struct Choice {
  var paths: [String]
  var otherPaths: [String] = []
  var index: ShardIndex?
  var indexPath: String
  var notice: String?

  init(_ directory: CheckpointDirectory, named: String?) throws(CheckpointError) {
    let all = directory.weightPaths
    paths = all
    indexPath = directory.indexPath ?? ""
    if let named {
      try choose(named, in: directory)
      return
    }
    let whole = joined(directory.path, "model.safetensors")
    if all.contains(where: { haveSameBytes($0, whole) }), try pathKind(whole) == .other {
      paths = [whole]
      if let indexPath = directory.indexPath {
        notice =
          "\(printable(indexPath)): is left out of account, for model.safetensors is there, as "
          + "transformers does it"
      }
    } else if let index = try ShardIndex(directory: directory) {
      self.index = index
      paths = all.filter { index.names(pathComponent($0)) }
    } else if let set = Self.completeSet(among: all) {
      paths = set
    }
    otherPaths = all.filter { path in !paths.contains { haveSameBytes($0, path) } }
  }

  /// What config.json names, which must lie in the directory itself.
  private mutating func choose(
    _ named: String, in directory: CheckpointDirectory
  ) throws(CheckpointError) {
    let all = directory.weightPaths
    let path = joined(directory.path, named)
    if named.hasSuffix(".index.json"), !named.contains("/") {
      let index = try ShardIndex(path: path, weightPaths: all)
      self.index = index
      indexPath = path
      paths = all.filter { index.names(pathComponent($0)) }
    } else {
      guard all.contains(where: { haveSameBytes($0, path) }) else {
        throw .missingShard(index: directory.configurationPath, shard: named)
      }
      paths = [path]
    }
    otherPaths = all.filter { path in !paths.contains { haveSameBytes($0, path) } }
  }

  /// The shards NAME-00001-of-0000N up to N, where the files hold one such set whole.
  private static func completeSet(among paths: [String]) -> [String]? {
    var sets: [String: [String]] = [:]
    var counts: [String: Int] = [:]
    for path in paths {
      let parts = pathComponent(path).dropLast(".safetensors".count)
        .split(separator: "-", omittingEmptySubsequences: false)
      guard parts.count >= 4, parts[parts.count - 2] == "of",
        let count = Int(parts[parts.count - 1])
      else { continue }
      let key = parts.dropLast(3).joined(separator: "-") + "-of-\(parts[parts.count - 1])"
      sets[key, default: []].append(path)
      counts[key] = count
    }
    let whole = sets.filter { $0.value.count == counts[$0.key] }
    return whole.count == 1 ? whole.first?.value : nil
  }
}
