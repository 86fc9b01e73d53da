fn main() -> std::process::ExitCode {
    usher::usher_main()
}
