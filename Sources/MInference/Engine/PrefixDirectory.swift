import Files
import Transformers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Keys and values of long sequences on disk, for prompts that begin alike after a restart.
///
/// One file a sequence, as `Session.save(to:)` writes them: replaced as a whole or not at all, with a
/// checksum that is compared before anything is used, and bound to the model, the kind of attention
/// and the format's version. A file that is not whole, or whose checksum is wrong, is removed. When
/// the files take more than they may, the least recently used go. One process at a time uses a
/// directory.
public final class PrefixDirectory {
  /// Where prefixes are kept.
  public struct Options: Sendable {
    public var path: String
    /// Bytes that all files may take together.
    public var byteCount: Int
    /// Sequences of fewer tokens are not kept.
    public var leastTokens: Int

    public init(path: String, byteCount: Int = 16 << 30, leastTokens: Int = 1024) {
      self.path = path
      self.byteCount = byteCount
      self.leastTokens = leastTokens
    }
  }

  /// A sequence on disk.
  struct Entry {
    let path: String
    let key: String
    let tokens: [Int32]
    let byteCount: Int
    /// Seconds since 1970.
    var lastUse: Int
  }

  private let options: Options
  private let model: LanguageModel
  private let lock: AppendedFile
  private(set) var entries: [Entry] = []

  private static let suffix = ".keys"

  /// Opens the directory, which is made if there is none, and looks at what lies in it.
  ///
  /// - Throws: `FileError`: `.inUse` while another process has it, or what keeps it from being used.
  init(_ options: Options, model: LanguageModel) throws {
    self.options = options
    self.model = model
    try Self.makeDirectory(options.path)
    lock = try AppendedFile(path: options.path + "/lock")
    for name in try WholeFile.names(inDirectory: options.path) {
      let path = "\(options.path)/\(name)"
      // What a process that was killed did not finish.
      if name.hasPrefix("."), name.hasSuffix(".draft") { WholeFile.remove(path) }
      guard name.hasSuffix(Self.suffix) else { continue }
      guard let saved = try? SavedSequence(contentsOfFile: path) else {
        WholeFile.remove(path)
        continue
      }
      entries.append(
        Entry(
          path: path, key: saved.fingerprint, tokens: saved.tokens, byteCount: saved.byteCount,
          lastUse: Self.modificationTime(of: path)))
    }
    removeWhatIsTooMuch()
  }

  var leastTokens: Int { options.leastTokens }
  var byteCount: Int { entries.reduce(0) { $0 + $1.byteCount } }

  /// The sequence with which a prompt has most tokens in common, if these are worth it.
  func find(
    _ prompt: [Int32], attention: AttentionOptions, longerThan known: Int
  ) -> Entry? {
    guard let key = key(of: attention) else { return nil }
    let best = entries.filter { $0.key == key }.map { ($0, commonPrefix($0.tokens, prompt)) }
      .max { $0.1 < $1.1 }
    guard let (entry, common) = best,
      min(common, prompt.count - 1) >= max(leastTokens / 2, known + leastTokens / 2)
    else { return nil }
    return entry
  }

  /// Fills a cache with what a prompt and an entry have in common.
  ///
  /// - Returns: How many tokens that is; 0 where the file is of no use, which is then removed.
  func restore(_ entry: Entry, into cache: KeyValueCache, for prompt: [Int32]) -> Int {
    guard entry.tokens.count <= cache.capacity else { return 0 }
    do {
      let tokens = try model.transformer.restore(
        cache, fingerprint: entry.key, from: entry.path)
      let common = min(commonPrefix(tokens, prompt), prompt.count - 1, cache.count)
      if model.transformer.mustReadAgain(cache, reaching: prompt.count) {
        cache.truncate(to: 0)
        return 0
      }
      cache.truncate(to: common)
      touch(entry)
      return common
    } catch {
      if cache.count > 0 { cache.truncate(to: 0) }
      remove(entry)
      return 0
    }
  }

  /// Writes a sequence, unless most of it is there already. What cannot be written is left out: a
  /// prefix on disk is never needed.
  ///
  /// - Parameters:
  ///   - rows: Where the keys and values of the tokens are.
  ///   - isCancelled: Asked now and then; true ends the writing, and nothing is written.
  /// - Returns: false where it was ended so.
  func store(
    _ tokens: [Int32], _ rows: [CachedRows], attention: AttentionOptions, isCancelled: () -> Bool
  ) -> Bool {
    guard let key = key(of: attention), rows.first?.cache.byteCount ?? 0 > 0 else { return true }
    // Of no further use once the whole is there.
    var beginnings: [Entry] = []
    for entry in entries where entry.key == key {
      let common = commonPrefix(entry.tokens, tokens)
      if tokens.count - common <= max(256, tokens.count / 8) {
        touch(entry)
        return true
      }
      if common == entry.tokens.count { beginnings.append(entry) }
    }
    var fingerprint = Fingerprint()
    fingerprint.add(tokens)
    let path = "\(options.path)/\(key)-\(fingerprint.text)\(Self.suffix)"
    do {
      try model.transformer.save(
        rows, tokens: tokens, fingerprint: key, to: path, isCancelled: isCancelled)
    } catch {
      return !(error is CancellationError)
    }
    guard let saved = try? SavedSequence(contentsOfFile: path) else { return true }
    for entry in beginnings where entry.path != path { remove(entry) }
    entries.removeAll { $0.path == path }
    entries.append(
      Entry(
        path: path, key: key, tokens: saved.tokens, byteCount: saved.byteCount,
        lastUse: Self.modificationTime(of: path)))
    removeWhatIsTooMuch()
    return true
  }

  /// Sixteen digits that tell apart keys and values that differ for the same ids; nil where budgets of
  /// a request make them its own.
  private func key(of attention: AttentionOptions) -> String? {
    guard attention.budgets == AttentionBudgets(),
      attention.calibratedSelections == SelectionMemory.Selections()
    else {
      return nil
    }
    let patterns = model.patterns.map { "\($0)" } ?? ""
    return Fingerprint.of(
      "\(model.fingerprint) \(attention.mode.rawValue) \(attention.exact) \(patterns)")
  }

  private func touch(_ entry: Entry) {
    utimes(entry.path, nil)
    for index in entries.indices where entries[index].path == entry.path {
      entries[index].lastUse = Self.modificationTime(of: entry.path)
    }
  }

  private func remove(_ entry: Entry) {
    WholeFile.remove(entry.path)
    entries.removeAll { $0.path == entry.path }
  }

  private func removeWhatIsTooMuch() {
    while byteCount > options.byteCount,
      let oldest = entries.min(by: { ($0.lastUse, $0.path) < ($1.lastUse, $1.path) })
    {
      remove(oldest)
    }
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
      return status.st_mtimespec.tv_sec
    #else
      return status.st_mtim.tv_sec
    #endif
  }
}
