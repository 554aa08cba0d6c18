import CSystemCalls

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes a file that takes its name once it is whole.
///
/// Until ``commit()`` the old file is untouched; whatever fails, it stays. Links are followed: the file
/// that they lead to is replaced, and they stay links. A regular file keeps its permissions and, where
/// the system allows it, its owner; a new one gets those of the umask. Another hard link to the old
/// file keeps the old contents. A pipe or device cannot be replaced: bytes go straight
/// into it. A directory is refused.
///
/// The draft lies in the directory of the file, under a random name that is made with `O_EXCL`,
/// readable by its owner alone until it is whole. A replacement that is dropped removes its draft; so
/// does `csystem_remove_drafts`, which a program's signal handlers can call.
package final class FileReplacement {
  /// The name as given, for messages.
  package let path: String
  /// Where links lead.
  private let target: String
  /// Nil where bytes go straight into a pipe or device.
  private let draft: String?
  private let draftSlot: Int32
  private let file: OpenedFile
  private let mode: mode_t
  private let isDurable: Bool
  private let owner: (uid_t, gid_t)?
  private var isOpen = true

  /// - Parameters:
  ///   - isPrivate: The file is for its owner alone, also where it replaces one that was not.
  ///   - isDurable: Its bytes are on the disk before it takes its name: a machine that stops leaves the
  ///     old file or the new one. Not needed for what can be made again.
  /// - Throws: ``FileError``.
  package init(
    path: String, isPrivate: Bool = false, isDurable: Bool = true
  ) throws(FileError) {
    self.path = path
    self.isDurable = isDurable
    let isStream: Bool
    (target, isStream) = try Self.resolve(path)
    let old: FileStatus?
    do {
      old = try FileStatus(path: target)
    } catch {
      throw FileError(path, error.problem)
    }
    if let old, isStream || !old.isRegular {
      guard !old.isDirectory else { throw FileError(path, .notRegular(old.kind)) }
      // Without O_NONBLOCK a pipe would wait for its reader for ever.
      file = try OpenedFile(path: target, flags: O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY)
      file.waitForData()
      (draft, draftSlot, mode, owner) = (nil, -1, 0, nil)
      return
    }
    mode = isPrivate ? 0o600 : old?.mode ?? 0o666 & ~Self.umask()
    owner = old.map { ($0.status.st_uid, $0.status.st_gid) }
    var made: (OpenedFile, String, Int32)?
    // A name that is taken already is next to impossible by chance.
    for _ in 0..<8 where made == nil {
      let name = Self.draftName(beside: target)
      let slot = SystemPath.with(name) { csystem_guard_draft($0) }
      do {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        made = (try OpenedFile(path: name, flags: flags, mode: 0o600), name, slot)
      } catch {
        csystem_unguard_draft(slot)
        if error.problem == .system(EEXIST) { continue }
        if case .system(let number) = error.problem { throw FileError(path, .directory(number)) }
        throw FileError(path, .directory(ENOENT))
      }
    }
    guard let made else { throw FileError(path, .directory(EEXIST)) }
    (file, draft, draftSlot) = (made.0, made.1, made.2)
  }

  deinit { discard() }

  /// Adds bytes.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    do {
      try file.writeAll(bytes)
    } catch {
      discard()
      throw FileError(path, error.problem)
    }
  }

  /// Puts the file in its place once its bytes are on the disk.
  package func commit() throws(FileError) {
    defer { discard() }
    guard let draft, isOpen else { return }
    do throws(FileError) {
      // Only root may give files away; a group that one is in may be kept by anyone.
      if let owner, fchown(file.descriptor, owner.0, owner.1) != 0 {
        _ = fchown(file.descriptor, uid_t.max, owner.1)
      }
      guard fchmod(file.descriptor, mode) == 0 else { throw FileError.last(path) }
      if isDurable { try file.synchronize() }
    } catch {
      throw FileError(path, error.problem)
    }
    let renamed = SystemPath.with(draft) { draft in
      SystemPath.with(target) { rename(draft, $0) }
    }
    guard renamed == 0 else { throw FileError.last(path) }
    isOpen = false
    csystem_unguard_draft(draftSlot)
    if isDurable { synchronizeDirectory() }
  }

  /// Removes the draft; the old file stays as it was.
  private func discard() {
    guard isOpen, let draft else { return }
    isOpen = false
    WholeFile.remove(draft)
    csystem_unguard_draft(draftSlot)
  }

  /// The new name is on the disk when its directory is. Some file systems cannot say.
  private func synchronizeDirectory() {
    let directory = Self.split(target).directory
    let opened = try? OpenedFile(path: directory.isEmpty ? "." : directory, flags: O_RDONLY)
    try? opened?.synchronize()
  }
}

extension FileReplacement {
  /// Replaces the file at `path` by `bytes`, as a whole or not at all.
  ///
  /// - Throws: ``FileError``.
  package static func write(
    _ bytes: UnsafeRawBufferPointer, to path: String, isPrivate: Bool = false,
    isDurable: Bool = true
  ) throws(FileError) {
    let replacement = try FileReplacement(
      path: path, isPrivate: isPrivate, isDurable: isDurable)
    try replacement.write(bytes)
    try replacement.commit()
  }

  /// Checks that a file could be made or replaced at `path`, before the work that goes into it.
  ///
  /// - Throws: ``FileError``.
  package static func check(_ path: String) throws(FileError) {
    let (target, isStream) = try resolve(path)
    let status: FileStatus?
    do {
      status = try FileStatus(path: target)
    } catch {
      throw FileError(path, error.problem)
    }
    if let status, status.isDirectory { throw FileError(path, .notRegular(status.kind)) }
    if let status, isStream || !status.isRegular {
      guard SystemPath.with(target, { access($0, W_OK) }) == 0 else { throw FileError.last(path) }
      return
    }
    let directory = split(target).directory
    let allowed = SystemPath.with(directory.isEmpty ? "." : directory) { access($0, W_OK | X_OK) }
    guard allowed == 0 else {
      throw FileError(path, .directory(errno))
    }
  }

  /// Replaces the file at `path` by `text`, as a whole or not at all.
  ///
  /// - Throws: ``FileError``.
  package static func write(_ text: String, to path: String) throws(FileError) {
    let replacement = try FileReplacement(path: path)
    let bytes = Array(text.utf8)
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(FileError) in try replacement.write(bytes) }
    }
    try result.get()
    try replacement.commit()
  }

  /// The directory of a path with its slash ("" for the current one), and the name in it.
  private static func split(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return ("", path) }
    let start = path.utf8.index(after: slash)
    return (String(path[..<start]), String(path[start...]))
  }

  /// The path at the end of all links, whether or not there is a file; and whether it names a
  /// stream of this process, such as `/dev/stdout`, which is written into even if it is a file.
  private static func resolve(
    _ path: String
  ) throws(FileError) -> (path: String, isStream: Bool) {
    var current = path
    // As many as Linux follows.
    for _ in 0..<40 {
      if current.hasPrefix("/proc/") || current.hasPrefix("/dev/fd/") { return (current, true) }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = buffer.withUnsafeMutableBytes { bytes in
        bytes.withMemoryRebound(to: CChar.self) { buffer in
          buffer.baseAddress.map { start in
            SystemPath.with(current) { readlink($0, start, buffer.count) }
          } ?? -1
        }
      }
      guard count >= 0 else { return (current, false) }
      let link = SystemPath.text(of: buffer[..<count])
      current = link.hasPrefix("/") ? link : split(current).directory + link
    }
    throw FileError(path, .system(ELOOP))
  }

  private static func draftName(beside target: String) -> String {
    let (directory, name) = split(target)
    let random = String(UInt64.random(in: .min ... .max), radix: 36)
    // Names have at most 255 bytes.
    return directory + "." + String(decoding: name.utf8.prefix(200), as: UTF8.self)
      + "." + random + ".draft"
  }

  /// The permissions that new files go without.
  private static func umask() -> mode_t {
    // umask() would change the mask for a moment, which other threads would see.
    guard let text = try? WholeFile.bytes(of: "/proc/self/status", limit: 1 << 16) else {
      return 0o022
    }
    for line in text.split(separator: 0x0A) where line.starts(with: "Umask:".utf8) {
      let digits = String(decoding: line.dropFirst(6).filter { $0 > 0x20 }, as: UTF8.self)
      return mode_t(digits, radix: 8) ?? 0o022
    }
    return 0o022
  }
}
