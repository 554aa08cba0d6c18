import Files

/// The source files of a folder, for questions about its functions.
public struct CodeBase: Sendable {
  /// A source file.
  struct File: Sendable {
    /// Its path in the folder.
    var path: String
    var lines: [String]
    /// What begins a function: "def ".
    var keyword: String
  }

  /// The folder's path, for messages.
  let folder: String
  let files: [File]

  /// What begins a function, by the ending of the file's name.
  private static let keywords = [
    "py": "def ", "swift": "func ", "go": "func ", "rs": "fn ", "kt": "fun ", "js": "function ",
    "ts": "function ", "php": "function ", "lua": "function ", "rb": "def ", "jl": "function ",
  ]
  /// Larger files are data more often than code.
  private static let mostBytes = 1 << 18
  private static let mostFiles = 20_000

  /// Reads the folder and those in it, in the order of their names. Hidden names, files of other
  /// languages, over 256 KiB, not in UTF-8 or not readable, and folders that cannot be listed are left
  /// out.
  ///
  /// Throws ``TaskError/unreadable(file:reason:)``, ``TaskError/nothingToAsk(kind:source:)``.
  public init(contentsOf folder: String) throws {
    var files: [File] = []
    try Self.read(folder, as: "", depth: 0, into: &files)
    guard !files.isEmpty else { throw TaskError.nothingToAsk(kind: "code", source: folder) }
    self.init(folder: folder, files: files)
  }

  init(folder: String, files: [File]) {
    self.folder = folder
    self.files = files
  }

  private static func read(
    _ folder: String, as path: String, depth: Int, into files: inout [File]
  ) throws {
    let names: [String]
    do {
      names = try WholeFile.names(inDirectory: folder)
    } catch {
      guard depth == 0 else { return }
      throw TaskError.unreadable(file: folder, reason: error.reason)
    }
    for name in names where !name.hasPrefix(".") && files.count < mostFiles {
      let (file, inner) = ("\(folder)/\(name)", path.isEmpty ? name : "\(path)/\(name)")
      if WholeFile.isDirectory(file) {
        // Deeper folders are loops of links.
        if depth < 16 { try read(file, as: inner, depth: depth + 1, into: &files) }
      } else if let keyword = keywords[name.split(separator: ".").last.map(String.init) ?? ""],
        let text = text(of: file)
      {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        files.append(File(path: inner, lines: lines, keyword: keyword))
      }
    }
  }

  /// A file that cannot be read is left out: a code base is more than one file.
  private static func text(of file: String) -> String? {
    guard let bytes = try? WholeFile.bytes(of: file, limit: mostBytes) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}
