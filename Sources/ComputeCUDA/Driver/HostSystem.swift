#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

internal import Files

/// What this backend asks of the C library: the environment, libraries and folders.
enum HostSystem {
  /// The value of an environment variable; nil where it is not set, or empty.
  static func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return SystemPath.text(of: value)
  }

  /// Sets variables that are not set.
  static func setDefaults(_ variables: [String: String]) {
    for (name, value) in variables { setenv(name, value, 0) }
  }

  /// Loads a library that another one looks for, for good.
  static func preload(_ path: String) { _ = dlopen(path, RTLD_NOW) }

  /// Makes a folder and those above it that are missing.
  static func makeDirectory(_ path: String) {
    guard !WholeFile.exists(path) else { return }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      makeDirectory(String(path[..<slash]))
    }
    _ = SystemPath.with(path) { mkdir($0, 0o755) }
  }
}
