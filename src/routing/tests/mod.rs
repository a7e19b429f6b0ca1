mod case;
mod normal;
mod recorded;
mod seen;
