import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The models that Hugging Face's tools have downloaded to this machine. Nothing is ever fetched.
///
/// A model ORG/NAME lies in `models--ORG--NAME`; `refs/main` there names a commit, whose files are in
/// `snapshots/COMMIT`. Source: huggingface_hub, "Understand caching".
public struct HuggingFaceCache: Sendable {
  /// The directory that holds a directory for each model.
  public let directory: String

  /// - Parameter environment: Looks up a variable; `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` and `HOME`
  ///   are asked for, in this order.
  public init(environment: (String) -> String? = Self.variable) {
    func given(_ name: String) -> String? { environment(name).flatMap { $0.isEmpty ? nil : $0 } }
    let caches = given("XDG_CACHE_HOME") ?? joined(given("HOME") ?? "", ".cache")
    let home = given("HF_HOME") ?? joined(caches, "huggingface")
    directory = given("HF_HUB_CACHE") ?? joined(home, "hub")
  }

  /// The value of a variable of this process.
  public static func variable(_ name: String) -> String? {
    getenv(name).map { SystemPath.text(of: $0) }
  }

  /// Where the files of a model are.
  ///
  /// - Parameter name: A path, which is returned as it is where something lies there, or ORG/NAME.
  /// - Throws: `.notDownloaded` for a name that is not in the cache.
  public func path(ofModel name: String) throws(CheckpointError) -> String {
    guard Self.isModelName(name), try pathKind(name) == .nothing else { return name }
    let folder = joined(
      directory, "models--" + name.split(separator: "/").joined(separator: "--"))
    guard let commit = try commit(in: folder) else {
      throw .notDownloaded(model: name, cache: directory)
    }
    return joined(joined(folder, "snapshots"), commit)
  }

  /// Whether the name has the form ORG/NAME, in letters that Hugging Face allows.
  private static func isModelName(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2
      && parts.allSatisfy { part in
        part.utf8.first.map { $0 != UInt8(ascii: ".") } ?? false
          && part.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
              UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"),
              UInt8(ascii: "-"):
              true
            default: false
            }
          }
      }
  }

  /// The commit that `refs/main` names, or the only one there is.
  private func commit(in folder: String) throws(CheckpointError) -> String? {
    let snapshots = joined(folder, "snapshots")
    guard try pathKind(snapshots) == .directory else { return nil }
    let commits = try directoryEntries(snapshots)
    let reference = joined(folder, "refs/main")
    if try pathKind(reference) != .nothing {
      let text = String(decoding: try readFile(at: reference, limit: 4096), as: UTF8.self)
      let named = text.prefix { !$0.isWhitespace }
      if let commit = commits.first(where: { $0 == named }) { return commit }
    }
    return commits.count == 1 ? commits[0] : nil
  }
}
