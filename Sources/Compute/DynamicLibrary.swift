#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A shared library that is opened at run time, so that nothing is needed to build or to start.
///
/// The library stays open for the life of the process: functions taken from it stay valid.
package struct DynamicLibrary: @unchecked Sendable {
  package let name: String
  private let handle: UnsafeMutableRawPointer

  /// Opens the first of `names` that can be opened. Throws
  /// ``ComputeError/unavailable(what:remedy:)`` with `remedy` if none can.
  package init(oneOf names: [String], remedy: Remedy) throws {
    for name in names {
      if let handle = dlopen(name, RTLD_NOW | RTLD_LOCAL) {
        self.name = name
        self.handle = handle
        return
      }
    }
    throw ComputeError.unavailable(what: names.first ?? "library", remedy: remedy)
  }

  /// The address of `symbol` as a C function type, or nil if the library lacks it.
  package func function<Function>(_ symbol: String, as type: Function.Type) -> Function? {
    precondition(MemoryLayout<Function>.size == MemoryLayout<UnsafeMutableRawPointer>.size)
    return dlsym(handle, symbol).map { unsafeBitCast($0, to: type) }
  }
}
