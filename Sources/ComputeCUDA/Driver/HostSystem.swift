#if canImport(Glibc)
  internal import Glibc
#elseif canImport(Musl)
  internal import Musl
#else
  internal import Darwin
#endif

/// What this backend asks of the C library: the environment, libraries and folders.
enum HostSystem {
  /// The value of an environment variable; nil where it is not set, or empty.
  static func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
  }

  /// Sets variables that are not set.
  static func setDefaults(_ variables: [String: String]) {
    for (name, value) in variables { setenv(name, value, 0) }
  }

  /// Loads a library that another one looks for, for good.
  static func preload(_ path: String) { _ = dlopen(path, RTLD_NOW) }

  /// Makes a folder and those above it that are missing.
  static func makeDirectory(_ path: String) {
    guard access(path, F_OK) != 0 else { return }
    if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
      makeDirectory(String(path[..<slash]))
    }
    mkdir(path, 0o755)
  }
}
