// swift-tools-version: 6.1
import PackageDescription

let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
]

/// One Swift target of this package; every one is built with the same language settings.
func module(_ name: String, imports dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: swiftSettings)
}

/// The tests of one target. Goldens lie in `Goldens/` beside the tests and are read by path.
func tests(
  of name: String, imports dependencies: [Target.Dependency] = [], goldens: Bool = false
) -> Target {
  .testTarget(
    name: name + "Tests", dependencies: [.target(name: name)] + dependencies,
    exclude: goldens ? ["Goldens"] : [], swiftSettings: swiftSettings)
}

let package = Package(
  name: "swift-minference",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "MInference", targets: ["MInference"]),
    .executable(name: "minference", targets: ["MInferenceCommand"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    // The server alone uses these. No traits: full Foundation would double the static binary.
    .package(
      url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0", traits: []),
    .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.10.0"),
  ],
  targets: [
    .target(name: "CSystemCalls"),
    .target(name: "CKernels"),
    // How this build was made; only the command imports it, which alone is compiled again when it changes.
    .target(name: "CBuild"),
    // Kernels are embedded as text and compiled when they are first used.
    .target(name: "CUDASources", exclude: ["Kernels"]),
    module("JSON"),
    module("StoredNumbers"),
    module("Files", imports: ["CSystemCalls", "TextReports"]),
    module("Checkpoints", imports: ["Files", "JSON", "StoredNumbers"]),
    module("Tokenizers", imports: ["Files", "JSON"]),
    module("ChatTemplates"),
    module("Grammars", imports: ["JSON"]),
    module("Compute", imports: ["StoredNumbers", "TextReports"]),
    // Backends that stand in for others: verification and tests build on them.
    module("BackendTesting", imports: ["Compute"]),
    module(
      "ComputeCPU", imports: ["Compute", "CKernels", "CSystemCalls", "Files", "StoredNumbers"]),
    module(
      "ComputeCUDA", imports: ["Compute", "CUDASources", "CSystemCalls", "Files", "StoredNumbers"]),
    module("SparseAttention", imports: ["Compute", "Files", "JSON"]),
    module(
      "Transformers",
      imports: [
        "Checkpoints", "Compute", "Files", "JSON", "SparseAttention", "StoredNumbers",
        "TextReports",
      ]),
    module(
      "Pipeline",
      imports: [
        "Checkpoints", "Compute", "CSystemCalls", "JSON", "SparseAttention", "Transformers",
      ]),
    module(
      "PatternSearch",
      imports: [
        "Checkpoints", "Compute", "CSystemCalls", "Files", "SparseAttention", "Transformers",
      ]),
    module(
      "MInference",
      imports: [
        "ChatTemplates", "Checkpoints", "Tokenizers", "Compute", "ComputeCPU", "ComputeCUDA",
        "CSystemCalls", "Files", "Grammars", "JSON", "Pipeline", "SparseAttention", "TextReports",
        "Transformers",
      ]),
    module("TextReports"),
    module("EvaluationTasks", imports: ["Files", "JSON", "MInference", "TextReports"]),
    module(
      "KernelVerification",
      imports: [
        "BackendTesting", "EvaluationTasks", "MInference", "StoredNumbers", "TextReports",
      ]),
    module(
      "Benchmarks",
      imports: ["Checkpoints", "EvaluationTasks", "JSON", "MInference", "TextReports"]),
    module("Plots", imports: ["MInference", "EvaluationTasks", "TextReports"]),
    // The page that the server shows; its files are embedded.
    .target(name: "CWebPage", exclude: ["Page"]),
    .target(
      name: "MInferenceServer",
      dependencies: [
        "CWebPage", "Grammars", "JSON", "MInference",
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "UnixSignals", package: "swift-service-lifecycle"),
      ],
      swiftSettings: swiftSettings),
    // Not named as its product: folders whose names differ in case alone are one on some systems.
    .executableTarget(
      name: "MInferenceCommand",
      dependencies: [
        "Benchmarks", "CBuild", "CSystemCalls", "Checkpoints", "Compute", "EvaluationTasks",
        "Files",
        "JSON", "KernelVerification", "MInference", "MInferenceServer", "PatternSearch", "Plots",
        "TextReports", "Transformers",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: swiftSettings),
    tests(of: "JSON"),
    tests(of: "StoredNumbers", goldens: true),
    tests(of: "Files", imports: ["CSystemCalls"]),
    tests(
      of: "Checkpoints", imports: ["CSystemCalls", "Files", "JSON", "StoredNumbers"], goldens: true),
    tests(of: "Tokenizers", goldens: true),
    tests(of: "ChatTemplates", goldens: true),
    tests(of: "Grammars", imports: ["JSON"]),
    tests(of: "Compute", imports: ["StoredNumbers"]),
    tests(of: "ComputeCPU", imports: ["Compute", "StoredNumbers"]),
    tests(of: "ComputeCUDA", imports: ["Compute", "CUDASources"]),
    tests(of: "SparseAttention", imports: ["Compute"]),
    tests(
      of: "Transformers",
      imports: [
        "BackendTesting", "Checkpoints", "Compute", "ComputeCPU", "JSON", "SparseAttention",
      ], goldens: true),
    tests(
      of: "Pipeline",
      imports: [
        "BackendTesting", "Checkpoints", "Compute", "ComputeCPU", "SparseAttention",
        "TemporaryCheckpoints", "Transformers",
      ]),
    tests(
      of: "PatternSearch",
      imports: [
        "Checkpoints", "Compute", "ComputeCPU", "Files", "SparseAttention", "Transformers",
      ]),
    // Directories and checkpoints that tests write, and that go away with them.
    .target(
      name: "TemporaryCheckpoints", dependencies: ["Checkpoints", "JSON"],
      path: "Tests/TemporaryCheckpoints", swiftSettings: swiftSettings),
    tests(of: "MInference", imports: ["Files", "JSON", "TemporaryCheckpoints"]),
    // They run the product that is built beside them.
    tests(of: "MInferenceCommand", imports: ["JSON", "MInference", "TemporaryCheckpoints"]),
    tests(of: "TextReports", imports: ["JSON"]),
    tests(of: "EvaluationTasks", imports: ["JSON", "MInference"], goldens: true),
    tests(of: "KernelVerification", imports: ["BackendTesting", "MInference"]),
    tests(of: "Benchmarks", imports: ["JSON", "MInference"]),
    tests(of: "Plots", imports: ["EvaluationTasks", "MInference"]),
    tests(
      of: "MInferenceServer",
      imports: [
        "JSON", "MInference", "TemporaryCheckpoints", "Transformers",
        .product(name: "CoreMetrics", package: "swift-metrics"),
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
      ]),
    // Mutated files of every kind; bounded here, as long as one likes by hand.
    .testTarget(
      name: "FuzzingTests",
      dependencies: [
        "ChatTemplates", "Checkpoints", "EvaluationTasks", "Files", "JSON", "MInference",
        "PatternSearch", "SparseAttention", "TemporaryCheckpoints", "Tokenizers", "Transformers",
      ], path: "Tests/Fuzzing", exclude: ["README.md"], swiftSettings: swiftSettings),
  ]
)
