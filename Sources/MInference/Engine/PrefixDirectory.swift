import CSystemCalls
import Compute
import Files
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Keys and values of long sequences on disk, for prompts that begin alike: after a restart, or after memory
/// had to be given up.
///
/// One file a run of tokens, see `SegmentLayout`: a beginning that sequences share is there once. A
/// file takes its name once it is whole, has checksums that are compared with what is used of it, and is
/// bound to the model, the kind of attention and the format's version. A file that is damaged is removed with
/// those that go on behind it. When the files take more than they may, the ends of the least recently used
/// sequences go. One process at a time uses a directory, until the last thread that writes in it has ended.
public final class PrefixDirectory {
  /// Where prefixes are kept.
  public struct Options: Sendable {
    public var path: String
    /// Bytes that all files may take together.
    public var byteCount: Int
    /// Sequences of fewer tokens are not kept.
    public var leastTokens: Int
    /// Bytes that are read or written at once.
    package var blockBytes = 2 << 20
    /// Seconds after which a disk that takes or gives nothing is given up.
    package var patienceSeconds = 10.0
    /// Called on the thread that writes, before each block and before a file takes its name: a disk's delays
    /// can be imitated.
    package var willWrite: @Sendable () -> Void = {}

    public init(path: String, byteCount: Int = 16 << 30, leastTokens: Int = 1024) {
      self.path = path
      self.byteCount = byteCount
      self.leastTokens = leastTokens
    }
  }

  /// A segment on disk.
  package final class Entry {
    let path: String
    let key: String
    let identity: UInt64
    let type: DataType
    let start: Int
    let tokens: [Int32]
    /// What reading prompts took when it was written; 0: not known.
    let secondsPerToken: Double
    let byteCount: Int
    fileprivate(set) weak var parent: Entry?
    fileprivate(set) var children: [Entry] = []
    /// Nanoseconds since 1970.
    fileprivate(set) var lastUse: Int

    package var end: Int { start + tokens.count }

    fileprivate init(_ file: SegmentFile, lastUse: Int) {
      path = file.reader.path
      key = file.trailer.key
      identity = file.trailer.identity
      type = file.layout.extents.type
      start = file.trailer.start
      tokens = file.trailer.tokens
      secondsPerToken = file.trailer.secondsPerToken
      byteCount = file.reader.byteCount
      self.lastUse = lastUse
    }
  }

  /// What the directory has of a sequence: segments from the first position on.
  package struct Match {
    /// Each with the positions that are taken from it.
    var parts: [(entry: Entry, positions: Range<Int>)]

    package var end: Int { parts.last?.positions.upperBound ?? 0 }
    var last: Entry? { parts.last?.entry }
  }

  let options: Options
  let backend: any Backend
  private let model: LanguageModel
  /// Held by writers too, until their threads have ended.
  let lock: AppendedFile
  /// What tells the model's patterns apart.
  private let patternsName: String
  /// Those without a parent.
  private var roots: [Entry] = []
  /// Bytes of all files.
  package private(set) var byteCount = 0
  /// The memory through which segments are written, and read.
  package let writing: StagingPool
  package let reading: StagingPool
  let readingThreads: Int

  private static let suffix = ".keys"
  /// More threads read a file that is in the file cache no faster.
  private static let mostThreads = 16
  /// The share of the processors that read: the engine's own thread needs one beside them.
  private static let readingShare = 0.75

  /// Opens the directory, which is made if there is none, and looks at what lies in it.
  ///
  /// - Throws: `FileError`: `.inUse` while another process has it, or what keeps it from being used;
  ///   `ComputeError` where there is no memory to read and write through.
  package init(_ options: Options, model: LanguageModel) throws {
    self.options = options
    self.model = model
    backend = model.transformer.backend
    patternsName = Fingerprint.of(model.patterns.map { "\($0)" } ?? "")
    try Self.makeDirectory(options.path)
    lock = try AppendedFile(path: options.path + "/lock")
    readingThreads = min(
      max(1, Int(Double(csystem_cpu_count()) * Self.readingShare)), Self.mostThreads)
    writing = try StagingPool(
      count: 4, byteCount: options.blockBytes, on: backend, purpose: "writing prefixes")
    reading = try StagingPool(
      count: 2 * readingThreads + 2 + PrefixRestoring.mostCopies, byteCount: options.blockBytes,
      on: backend,
      purpose: "reading prefixes")
    try takeUpFiles()
    removeWhatIsTooMuch(but: [])
  }

  private func takeUpFiles() throws {
    var files: [String: [(entry: Entry, parent: UInt64)]] = [:]
    for name in try WholeFile.names(inDirectory: options.path) {
      let path = "\(options.path)/\(name)"
      // What a process that was killed did not finish.
      if name.hasPrefix("."), name.hasSuffix(".draft") { WholeFile.remove(path) }
      guard name.hasSuffix(Self.suffix) else { continue }
      guard let file = SegmentFile(path: path) else {
        WholeFile.remove(path)
        continue
      }
      files[file.trailer.key, default: []].append(
        (Entry(file, lastUse: Self.modificationTime(of: path)), file.trailer.parent))
    }
    for var orphans in files.values {
      // Parents come before those that go on behind them.
      orphans.sort { $0.entry.start < $1.entry.start }
      var known: [UInt64: Entry] = [:]
      for (entry, parent) in orphans {
        if known[entry.identity] == nil, insert(entry, behind: parent, of: known) {
          known[entry.identity] = entry
        } else {
          WholeFile.remove(entry.path)
        }
      }
    }
  }

  /// - Returns: false where its parent is not there, or ends before it.
  private func insert(_ entry: Entry, behind parent: UInt64, of known: [UInt64: Entry]) -> Bool {
    if parent == 0 {
      guard entry.start == 0 else { return false }
      roots.append(entry)
    } else {
      guard let parent = known[parent], parent.start < entry.start, entry.start <= parent.end,
        parent.type == entry.type
      else { return false }
      entry.parent = parent
      parent.children.append(entry)
    }
    byteCount += entry.byteCount
    return true
  }

  var leastTokens: Int { options.leastTokens }
  /// Tokens of the longest sequence; nil without any.
  var longestSequence: Int? { leaves(of: roots).map(\.end).max() }
  /// Fewer tokens are not worth a file of their own.
  package var leastSegment: Int { max(1, options.leastTokens / 4) }

  /// A name for a new file.
  func newPath(key: String) -> String {
    let random = String(UInt64.random(in: .min ... .max), radix: 36)
    return "\(options.path)/\(key)-\(random)\(Self.suffix)"
  }

  /// What names a segment: its tokens and all before them.
  static func identity(of tokens: [Int32], start: Int) -> UInt64 {
    var fingerprint = Fingerprint()
    fingerprint.add(tokens)
    fingerprint.add("\(start)")
    return max(1, fingerprint.value)
  }

  // MARK: Finding

  /// The most that there is of a sequence.
  ///
  /// - Parameter type: The number format; nil: any.
  func match(_ tokens: [Int32], key: String, type: DataType? = nil) -> Match {
    var best = Match(parts: [])
    func look(at entries: [Entry], behind parts: Match) {
      for entry in entries
      where entry.key == key && entry.start <= parts.end && (type ?? entry.type) == entry.type {
        let common = commonPrefix(entry.tokens, tokens, from: entry.start)
        guard common > 0 else { continue }
        var match = parts
        if let last = match.parts.indices.last {
          let lower = match.parts[last].positions.lowerBound
          match.parts[last].positions = lower..<entry.start
        }
        match.parts.append((entry, entry.start..<entry.start + common))
        if match.end > best.end { best = match }
        look(at: entry.children, behind: match)
      }
    }
    look(at: roots, behind: best)
    return best
  }

  /// What there is of a prompt, but for its last token, if it is worth reading.
  ///
  /// - Parameter known: Tokens that are in memory.
  package func find(
    _ prompt: [Int32], attention: AttentionOptions, type: DataType? = nil, longerThan known: Int
  ) -> Match? {
    let long = model.transformer.usesLongFactors(prompt.count)
    guard let key = key(of: attention, hasLongFactors: long) else { return nil }
    var match = match(prompt, key: key, type: type)
    guard let last = match.parts.indices.last else { return nil }
    let positions = match.parts[last].positions
    let end = min(positions.upperBound, prompt.count - 1)
    guard end > positions.lowerBound, end >= max(leastTokens / 2, known + leastTokens / 2) else {
      return nil
    }
    match.parts[last].positions = positions.lowerBound..<end
    return match
  }

  /// Sixteen digits that tell apart keys and values that differ for the same ids; nil where budgets of
  /// a request make them its own.
  func key(of attention: AttentionOptions, hasLongFactors: Bool) -> String? {
    guard attention.budgets == AttentionBudgets(),
      attention.calibratedSelections == SelectionMemory.Selections()
    else {
      return nil
    }
    return Fingerprint.of(
      "\(model.fingerprint) \(attention.mode.rawValue) \(attention.exact) \(patternsName) "
        + "\(hasLongFactors)")
  }

  /// Marks segments as used now.
  func touch(_ match: Match) {
    for (entry, _) in match.parts {
      _ = utimes(entry.path, nil)
      entry.lastUse = Self.modificationTime(of: entry.path)
    }
  }

  // MARK: Changing

  /// Frees bytes for a new segment.
  ///
  /// - Returns: false where it is too large even so; nothing is freed then.
  func makeSpace(for bytes: Int, behind match: Match) -> Bool {
    let needed = match.parts.reduce(bytes) { $0 + $1.entry.byteCount }
    guard needed <= options.byteCount else { return false }
    removeWhatIsTooMuch(adding: bytes, but: match.parts.map(\.entry))
    return true
  }

  /// Takes up a file that was written.
  ///
  /// - Returns: What has become of it. A file that is of no use is removed.
  package func add(path: String, behind parent: Entry?) -> Addition {
    guard let file = SegmentFile(path: path) else {
      WholeFile.remove(path)
      return .missing
    }
    guard
      parent.map({ contains($0) && $0.identity == file.trailer.parent })
        ?? (file.trailer.parent == 0)
    else {
      WholeFile.remove(path)
      return .orphaned
    }
    let entry = Entry(file, lastUse: Self.modificationTime(of: path))
    let known = parent.map { [$0.identity: $0] } ?? [:]
    guard insert(entry, behind: file.trailer.parent, of: known) else {
      WholeFile.remove(path)
      return .orphaned
    }
    removeWhatIsTooMuch(but: [entry])
    return .added
  }

  /// What has become of a segment that was written.
  package enum Addition {
    case added
    /// What it goes on behind has been removed meanwhile; so is it.
    case orphaned
    /// The file is not there, or not what was written.
    case missing
  }

  /// Removes a segment and those that go on behind it.
  func remove(_ entry: Entry) {
    guard contains(entry) else { return }
    for child in entry.children { remove(child) }
    Self.removeFile(entry.path)
    byteCount -= entry.byteCount
    if let parent = entry.parent {
      parent.children.removeAll { $0 === entry }
    } else {
      roots.removeAll { $0 === entry }
    }
  }

  /// Removes a file's name at once. A thread frees the bytes, which takes longer.
  private static func removeFile(_ path: String) {
    let file = try? FileReader(path: path)
    WholeFile.remove(path)
    guard let file else { return }
    // Without a thread they are freed here.
    try? WorkerThread.start { withExtendedLifetime(file) {} }
  }

  private func contains(_ entry: Entry) -> Bool {
    let first = sequence(first: entry, next: \.parent).reduce(entry) { $1 }
    return roots.contains { $0 === first }
      && (entry === first || entry.parent?.children.contains { $0 === entry } == true)
  }

  /// - Parameter needed: Ends of sequences that stay.
  private func removeWhatIsTooMuch(adding bytes: Int = 0, but needed: [Entry]) {
    while byteCount + bytes > options.byteCount,
      let oldest = leaves(of: roots).filter({ leaf in !needed.contains { $0 === leaf } })
        .min(by: { ($0.lastUse, $0.path) < ($1.lastUse, $1.path) })
    {
      remove(oldest)
    }
  }

  private func leaves(of entries: [Entry]) -> [Entry] {
    entries.flatMap { $0.children.isEmpty ? [$0] : leaves(of: $0.children) }
  }

  /// Makes a directory, and those above it that are missing.
  private static func makeDirectory(_ path: String) throws(FileError) {
    guard !path.isEmpty, !WholeFile.isDirectory(path) else { return }
    try makeDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw FileError(path, .system(errno)) }
  }

  private static func modificationTime(of path: String) -> Int {
    var status = stat()
    guard stat(path, &status) == 0 else { return 0 }
    #if canImport(Darwin)
      let time = status.st_mtimespec
    #else
      let time = status.st_mtim
    #endif
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
  }
}
